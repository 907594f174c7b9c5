"""What must not be done twice and cannot be looked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from sim_devin.calls.intents import Intent
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.engine.contract import BlockError
from sim_devin.errors import (
    AmbiguousResult,
    ApiError,
    LocalFault,
    NothingSent,
    SimDevinError,
    StoreError,
    TransportError,
    UncertainResult,
    UnreadableResponse,
)
from sim_devin.meaning import meaning_of_status
from sim_devin.runs.journal import Journal
from sim_devin.runs.parked import Parked
from sim_devin.store.records import Wait
from sim_devin.store.rows import LeaseLost
from sim_devin.store.step_ledger import StepLedger

REPEATABLE = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")


def once(
    ledger: StepLedger,
    name: str,
    now: float,
    do: Callable[[Callable[[], None]], dict[str, Any]],
) -> dict[str, Any]:
    """Do it, or say that it is unknown whether it was done.

    `do` is given what it has to call right before it acts; that raises if it may not any more.

    Raises:
        LeaseLost: another process drives the run now; nothing was done.
        UncertainResult: it was in progress before, and its outcome is unknown.
    """
    intent = Intent(ledger.tag("0"), name, now)
    if not ledger.claim(intent):
        raise UncertainResult(
            f"{name} was in progress when its process ended, and its outcome cannot be determined.",
            hint="Check there before you decide.",
        )
    try:
        output = do(lambda: ledger.confirm(intent))
    except StoreError:
        raise  # ours, and before it acted
    except UnreadableResponse as error:
        ledger.settle(intent.tag, "rejected" if error.means.did_nothing else "uncertain")
        raise
    except (ApiError, TransportError) as error:
        if not error.means.did_nothing:
            raise UncertainResult(error.message, hint=error.hint) from error
        ledger.settle(intent.tag, "rejected")
        raise
    except (SimDevinError, BlockError):
        ledger.settle(intent.tag, "rejected")
        raise
    ledger.settle(intent.tag, "done")
    return output


class Steps(Protocol):
    """The calls of one try of a block."""

    def next_step(self) -> str:
        """Return the name of the next call."""
        ...

    def asking(self, service: str) -> AbstractContextManager[None]:
        """Note that the run asks a service. Raises NothingSent if too many do."""
        ...

    def uncertain(self, error: SimDevinError, tool_id: str) -> Wait:
        """Return the wait for a person who finds out whether something was done."""
        ...

    def for_service(self, error: SimDevinError, tool_id: str) -> Wait:
        """Return the wait for a service to be asked again."""
        ...


class CarefulSender:
    """Sends requests; one that may change something is sent once.

    What is not sent, or refused as it stands, may be resent. Any other answer is the
    workflow's to judge; but where no answer came, no retry of the block sends it again, and a
    run that is resumed asks a person before it does.
    """

    def __init__(self, sender: Any, journal: Journal, calls: Steps) -> None:
        self._sender = sender
        self._journal = journal
        self._calls = calls

    def send(self, request: Request, *, timeout: float) -> Response:
        """Send a request and return the answer.

        Raises:
            Parked: a person has to say what became of it, or too many runs ask the service.
            SimDevinError: there is no answer.
        """
        name = f"{request.method} {request.url.partition('?')[0]}"
        try:
            with self._calls.asking(urlsplit(request.url).netloc):
                return self._send(request, name, timeout)
        except NothingSent as error:
            raise Parked(self._calls.for_service(error, name)) from error

    def _send(self, request: Request, name: str, timeout: float) -> Response:
        journal = self._journal
        if request.method.upper() in REPEATABLE:
            try:
                answer: Response = self._sender.send(request, timeout=timeout)
            except LocalFault as error:
                raise journal.abort(error) from error
            return answer
        step = self._calls.next_step()
        ledger = StepLedger(journal.store, journal.run, step, journal.clock)
        intent = Intent(ledger.tag("0"), name, journal.clock.time())
        try:
            if not ledger.claim(intent):
                text = f"{name} was in progress when its process ended."
                raise Parked(self._calls.uncertain(UncertainResult(text), name))
            ledger.confirm(intent)
            request = replace(request, confirm=lambda: ledger.confirm(intent))
            try:
                answer = self._sender.send(request, timeout=timeout)
            except StoreError:
                raise
            except SimDevinError as error:
                if error.means.did_nothing:
                    ledger.settle(intent.tag, "rejected")
                    raise
                ledger.settle(intent.tag, "uncertain")
                raise AmbiguousResult(
                    f"It may have taken effect: {error.message}", hint="It is not resent."
                ) from error
            if meaning_of_status(answer.status).did_nothing:
                ledger.settle(intent.tag, "rejected")
            else:
                ledger.settle(intent.tag, "done" if answer.ok else "uncertain")
        except (LeaseLost, LocalFault, StoreError) as error:
            raise journal.abort(error) from error
        return answer
