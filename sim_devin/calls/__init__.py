"""One call: prepare, request, send, retry, read."""
