"""A worker's HTTP endpoint: hooks that start runs, metrics, health."""
