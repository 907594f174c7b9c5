"""Code of workflows: JavaScript in an embedded engine, Python in a limited process."""
