"""The built-in Devin plugin."""
