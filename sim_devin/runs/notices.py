"""Notices to another service: JSON, signed, sent on a thread of its own so that nothing waits."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sim_devin.calls.request import VERSION, Request
from sim_devin.calls.signature import DELIVERY, HEADER, timestamped
from sim_devin.calls.transport import HttpTransport
from sim_devin.clock import Clock
from sim_devin.errors import SimDevinError

log = logging.getLogger("sim_devin")

TIMEOUT = 10.0  # seconds for one notice
MOST_WAITING = 1000


class Notices:
    """Sends notices to one address, one after the other; none is sent again.

    When the service cannot be reached, what waits to be sent is given up, too. That is logged
    once, until a notice gets through again. The address, which can be a secret, is in no log.

    Args:
        url: where to; redirects are not followed.
        secret: what they are signed with, see `sim_devin.calls.signature`.
        clock: the time they are signed at.
    """

    def __init__(self, url: str, secret: str, clock: Clock) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock
        self._transport = HttpTransport(pool_size=1, redirects=0)
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failed = False

    def send(self, delivery: str, body: Mapping[str, Any]) -> None:
        """Have a notice sent; `delivery` is its id, unlike that of any other."""
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self._tell(f"{MOST_WAITING} are waiting already")
                return
            self._waiting.append((delivery, json.dumps(body, default=str).encode()))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="sim-devin-notices", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Wait for what is being sent, for a while, and close the connection."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(TIMEOUT)
        self._transport.close()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                delivery, body = self._waiting.popleft()
            self._send(delivery, body)

    def _send(self, delivery: str, body: bytes) -> None:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"sim-devin/{VERSION}",
            DELIVERY: delivery,
            HEADER: timestamped(self._secret, int(self._clock.time()), delivery, body),
        }
        try:
            answer = self._transport.send(
                Request("POST", self._url, headers, body), timeout=TIMEOUT
            )
        except SimDevinError as error:
            with self._lock:
                self._waiting.clear()
            self._tell(str(error))
            return
        if 200 <= answer.status < 300:
            self._failed = False
        else:
            self._tell(f"it returned {answer.status}")

    def _tell(self, why: str) -> None:
        if not self._failed:
            host = urlsplit(self._url).hostname
            log.warning("reminders to %s fail: %s Later ones are still tried.", host, why)
        self._failed = True
