"""Serve the simulator until somebody stops it: under uvicorn if installed, else with threads."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sim_devin.errors import CallerError

if TYPE_CHECKING:
    from sim_devin.simulator import Simulator


def serve_until_interrupted(
    simulator: Simulator, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """Serve `simulator`, telling `ready` its base URL, until KeyboardInterrupt, which is raised.

    Raises:
        CallerError: the address cannot be used.
    """
    try:
        import uvicorn
    except ImportError:
        _with_threads(simulator, host, port, ready)
        return
    from sim_devin.simulator.asgi import app

    config = uvicorn.Config(app(simulator), lifespan="off", log_level="error", access_log=False)
    with listening(host, port) as listener:
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listener.getsockname()[1]}{simulator.prefix}")
        uvicorn.Server(config).run(sockets=[listener])


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        CallerError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise _unusable(host, port, error) from None


def _with_threads(simulator: Simulator, host: str, port: int, ready: Callable[[str], None]) -> None:
    from sim_devin.simulator.server import serve

    serving = serve(simulator, host, port)
    try:
        url = serving.__enter__()
    except OSError as error:
        raise _unusable(host, port, error) from None
    try:
        ready(url)
        while True:
            time.sleep(3600)  # unlike a wait for a lock, Ctrl-C ends it on every system
    finally:
        serving.__exit__(None, None, None)


def _unusable(host: str, port: int, error: OSError) -> CallerError:
    return CallerError(
        f"Port {port} of {host} cannot be used: {error.strerror or error}.",
        hint="--port 0 takes a free one.",
    )
