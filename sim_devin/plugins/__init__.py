"""Hooks, loading, the registry, and the kit for plugin authors."""
