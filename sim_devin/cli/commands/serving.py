"""Serve the simulator until it is stopped: with uvicorn if installed, else with threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sim_devin.service.http_server import http_server, listening, unusable

if TYPE_CHECKING:
    from sim_devin.simulator import Simulator


def serve_until_interrupted(
    simulator: Simulator, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """Serve `simulator`, passing its base URL to `ready`, until KeyboardInterrupt, which is raised.

    Raises:
        CallerError: the address cannot be used.
    """
    try:
        import uvicorn  # noqa: F401
    except ImportError:
        _with_threads(simulator, host, port, ready)
        return
    from sim_devin.simulator.asgi import app

    with listening(host, port) as listener:
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listener.getsockname()[1]}{simulator.prefix}")
        http_server(app(simulator)).run(sockets=[listener])


def _with_threads(simulator: Simulator, host: str, port: int, ready: Callable[[str], None]) -> None:
    from sim_devin.simulator.server import serve

    serving = serve(simulator, host, port)
    try:
        url = serving.__enter__()
    except OSError as error:
        raise unusable(host, port, error) from None
    try:
        ready(url)
        while True:
            time.sleep(3600)  # unlike a wait for a lock, Ctrl-C ends this on every system
    finally:
        serving.__exit__(None, None, None)
