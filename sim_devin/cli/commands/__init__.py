"""The commands, one module each, and shared code. `sim_devin.cli.main` imports them lazily."""
