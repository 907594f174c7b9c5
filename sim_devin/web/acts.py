"""Acts of the page that take effect once, however often they are sent.

The page gives each act a key of its own (the header ``Idempotency-Key``) and sends the same key
when it sends the act again. The first one acts; a repeat gets its answer, also from the next
server. An act that failed may be tried again with its key, and what it does is bound to the key
as well: a run's id, and the record of a message, are made from it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.responses import Response

from sim_devin.errors import CallerError
from sim_devin.runs.answers import AnsweredAlready
from sim_devin.store.sql_store import SqlStore

HEADER = "idempotency-key"
REPLAYED = "idempotent-replayed"  # a header of answers that were given before

PATIENCE = 10.0  # real seconds to wait for the answer of another server with the same key
PAUSE = 0.1

_KEY = re.compile(r"[!-~]{8,200}")


class KeyMissing(CallerError):
    """An act that may cost money has no usable key, so that nothing could tell it from a repeat."""


class KeyReused(CallerError):
    """The key belongs to another act."""


def key_of(given: str | None, *, required: bool) -> str | None:
    """Return the key in the header; None if there is none and none is needed.

    Raises:
        KeyMissing: it is needed and not there, or is none.
    """
    key = (given or "").strip().strip('"')
    if not key and not required:
        return None
    if not _KEY.fullmatch(key):
        raise KeyMissing(
            "This request needs an Idempotency-Key."
            if not key
            else "The Idempotency-Key is invalid.",
            hint="Send a new one, such as a UUID, with each action, and the same one when you "
            "repeat it: 8 to 200 visible ASCII characters.",
        )
    return key


class Acts:
    """Lets each key act once. Safe for many threads.

    Args:
        store: where it is recorded which were given.
    """

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._under_way: dict[str, tuple[threading.Lock, int]] = {}

    def once(self, key: str, request: bytes, act: Callable[[], Response]) -> Response:
        """Return what an act answers, or what it answered when its key was given before.

        The store never has the key itself. Only who has it can tell what was asked, which may
        hold a secret: that is recorded as a digest under the key.

        Raises:
            KeyReused: something else was asked with this key.
        """
        name = hashlib.sha256(key.encode()).hexdigest()
        asked = hmac.digest(key.encode(), request, "sha256").hex()
        with self._alone(name):
            known = self._store.claim_act(name, asked)
            if known is not None and not hmac.compare_digest(known.request, asked):
                raise KeyReused(
                    "This Idempotency-Key belongs to another request.",
                    hint="Send a new key with a new action.",
                )
            if known is not None and known.answer is not None:
                return _response(known.answer)
            try:
                answer = act()
            except AnsweredAlready:
                others = self._answer_of_another(name)
                if others is None:
                    raise
                return others
            self._store.finish_act(name, _text(answer))
        return answer

    def _answer_of_another(self, name: str) -> Response | None:
        """Return what another server answers that was first with the same key; None if none is."""
        until = time.monotonic() + PATIENCE
        while (known := self._store.act(name)) is not None and known.claims > 1:
            if known.answer is not None:
                return _response(known.answer)
            if time.monotonic() >= until:
                break
            time.sleep(PAUSE)
        return None

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Let one thread at a time act with a key: a second one gets the answer of the first."""
        with self._lock:
            lock, count = self._under_way.get(name, (threading.Lock(), 0))
            self._under_way[name] = lock, count + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                _, count = self._under_way[name]
                if count == 1:
                    del self._under_way[name]
                else:
                    self._under_way[name] = lock, count - 1


def _text(answer: Response) -> str:
    headers = {name: answer.headers[name] for name in ("etag",) if name in answer.headers}
    return json.dumps([answer.status_code, bytes(answer.body).decode(), headers])


def _response(text: str) -> Response:
    status, body, headers = json.loads(text)
    return Response(body, status, {**headers, REPLAYED: "true"}, media_type="application/json")
