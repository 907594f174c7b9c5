"""Tool, block and connection specs: models, files, JSON Schema at work, block forms."""
