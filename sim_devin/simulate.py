"""The built-in simulator in place of the wire: ``--simulate`` and ``open_app(simulate=True)``."""

from __future__ import annotations

import json
import threading
from urllib.parse import parse_qsl, urlsplit

from sim_devin.clock import Clock
from sim_devin.errors import TimedOut, TransportError
from sim_devin.request import Request
from sim_devin.response import Response
from sim_devin.simulator import SimClock, Simulator


class SimulatedTransport:
    """A transport that hands requests to a simulator in this process.

    Attributes:
        simulator: the pretended Devin.
        clock: the time both live in. Unless given one, it moves only when somebody waits,
            so that hours pass in no time.
    """

    def __init__(self, clock: Clock | None = None, simulator: Simulator | None = None) -> None:
        self.clock: Clock = clock or SimClock(speed=0)
        self.simulator = simulator or Simulator(clock=self.clock)

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the simulator's answer.

        Raises:
            TimedOut: the simulator was told to be silent, or slower than `timeout` seconds.
            TransportError: it was told to break the connection.
        """
        parts = urlsplit(request.url)
        answer = self.simulator.handle(
            request.method,
            parts.path,
            parse_qsl(parts.query, keep_blank_values=True),
            request.headers,
            b"" if request.json is None else json.dumps(request.json).encode(),
        )
        if answer.delay:
            self.clock.wait(threading.Event(), min(answer.delay, timeout))
        if answer.fault == "timeout" or answer.delay > timeout:
            raise TimedOut(f"No answer came within {timeout:.3g} s.")
        if answer.fault is not None:
            raise TransportError(f"The connection broke before an answer came ({answer.fault}).")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, headers, answer.body)
