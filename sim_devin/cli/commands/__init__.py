"""The commands, one module each, and what they share. `sim_devin.cli.main` imports them lazily."""
