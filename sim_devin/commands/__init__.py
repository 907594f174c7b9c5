"""The commands, one module each, and what they share. `sim_devin.cli` imports them lazily."""
