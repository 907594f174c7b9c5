"""The canvas's server: a socket on loopback, a token, uvicorn until somebody stops it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

import uvicorn

from sim_devin.errors import CallerError
from sim_devin.web.api import Api, application
from sim_devin.web.page import Page

HOST = "127.0.0.1"


def serve(api: Api, port: int, ready: Callable[[str], None], *, page: Page | None = None) -> None:
    """Serve until interrupted, telling `ready` the address with the token in it.

    The token is in the fragment, which browsers keep to themselves: it is in no log, no
    Referer header and, once the page has taken it, in no history.

    Raises:
        CallerError: the port cannot be used.
        KeyboardInterrupt: somebody stopped it.
    """
    token = secrets.token_urlsafe(24)
    with _listening(port) as listener:
        number = listener.getsockname()[1]
        app = application(api, token=token, hosts=hosts(number), page=page)
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        ready(f"http://{HOST}:{number}/#token={token}")
        uvicorn.Server(config).run(sockets=[listener])


def hosts(port: int) -> list[str]:
    """Return the Host headers of this machine's own names."""
    return [f"{HOST}:{port}", f"localhost:{port}"]


def _listening(port: int) -> socket.socket:
    # With the protocol named, asyncio turns Nagle's algorithm off; each answer would take
    # 40 ms more otherwise.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise CallerError(
            f"Port {port} cannot be used: {error.strerror or error}.",
            hint="--port 0 takes a free one.",
        ) from None
    return listener
