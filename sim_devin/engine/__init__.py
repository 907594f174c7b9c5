"""Running workflows: the document, the graph, its execution and what it leaves behind."""
