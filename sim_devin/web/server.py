"""The canvas's server: a socket on loopback, a token, uvicorn until someone stops it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sim_devin.service.http_server import http_server, listening
from sim_devin.web.api import Api, application
from sim_devin.web.page import Page

HOST = "127.0.0.1"


def serve(api: Api, port: int, ready: Callable[[str], None], *, page: Page | None = None) -> None:
    """Serve until interrupted, telling `ready` the address with the token in it.

    The token is in the fragment, which browsers keep to themselves: it is in no log, no
    Referer header and, once the page has taken it, in no history.

    Raises:
        CallerError: the port cannot be used.
        KeyboardInterrupt: someone stopped it.
    """
    token = secrets.token_urlsafe(24)
    with listening(HOST, port) as listener:
        number = listener.getsockname()[1]
        app = application(api, token=token, hosts=hosts(number), page=page)
        ready(f"http://{HOST}:{number}/#token={token}")
        http_server(app, lifespan=True).run(sockets=[listener])


def hosts(port: int) -> list[str]:
    """Return the Host headers of this machine's own names."""
    return [f"{HOST}:{port}", f"localhost:{port}"]
