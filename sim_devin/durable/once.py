"""What must not be done twice and cannot be looked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim_devin.errors import (
    AmbiguousResult,
    ServerError,
    SimDevinError,
    UncertainResult,
    UnreadableResponse,
)
from sim_devin.handler import BlockError
from sim_devin.reconcile import Intent
from sim_devin.store.step_ledger import StepLedger


def once(
    ledger: StepLedger, name: str, now: float, do: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Do it, or say that nobody knows whether it was done.

    Raises:
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
        output = do()
    except (AmbiguousResult, ServerError) as error:
        raise UncertainResult(error.message, hint=error.hint) from error
    except UnreadableResponse as error:
        ledger.settle(intent.tag, "uncertain" if error.accepted else "rejected")
        raise
    except (SimDevinError, BlockError):
        ledger.settle(intent.tag, "rejected")
        raise
    ledger.settle(intent.tag, "done")
    return output
