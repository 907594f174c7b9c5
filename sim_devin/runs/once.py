"""What must not be done twice and cannot be looked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim_devin.calls.intents import Intent
from sim_devin.engine.contract import BlockError
from sim_devin.errors import (
    ApiError,
    SimDevinError,
    StoreError,
    TransportError,
    UncertainResult,
    UnreadableResponse,
)
from sim_devin.store.step_ledger import StepLedger


def once(
    ledger: StepLedger,
    name: str,
    now: float,
    do: Callable[[Callable[[], None]], dict[str, Any]],
) -> dict[str, Any]:
    """Do it, or say that nobody knows whether it was done.

    `do` is given what it has to call right before it acts; that raises if it may not any more.

    Raises:
        LeaseLost: another process drives the run now; nothing was done.
        UncertainResult: it was under way before, and nobody knows what came of it.
    """
    intent = Intent(ledger.tag("0"), name, now)
    if not ledger.claim(intent):
        raise UncertainResult(
            f"{name} was under way when its process ended, and nothing can tell whether it was "
            "done.",
            hint="Look there before you decide.",
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
