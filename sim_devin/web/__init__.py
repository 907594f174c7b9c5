"""The canvas: a page in the browser on which workflows are drawn, run and watched.

`server.serve` runs it; `api.application` is the ASGI application behind it. It is a front
of `App` like the command line: it starts runs with `App.run` and knows no more of them.
"""
