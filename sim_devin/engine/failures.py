"""What an exception means for the block it ended: text, hint, and whether to try again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sim_devin.engine.contract import BlockError
from sim_devin.errors import ApiError, SimDevinError


@dataclass(frozen=True)
class BlockFailure:
    """A block's failure in words. `output` joins ``error`` in what the block outputs."""

    text: str
    hint: str = ""
    output: Mapping[str, Any] = field(default_factory=dict)
    child_logs: Any = None


def describe(error: BaseException) -> BlockFailure:
    """Return a failure in words: the service's own explanation where there is one."""
    if isinstance(error, BlockError):
        return BlockFailure(str(error), error.hint, error.output, error.child_logs)
    if isinstance(error, ApiError):
        return BlockFailure(error.detail or "; ".join(error.problems) or error.message, error.hint)
    if isinstance(error, SimDevinError):
        return BlockFailure(error.message, error.hint)
    return BlockFailure(str(error) or type(error).__name__)


def may_retry(error: BaseException) -> bool:
    """Return whether a retry policy applies: not where it could do it twice, or ask twice."""
    if isinstance(error, BlockError):
        return error.retry
    if isinstance(error, SimDevinError):
        return not (error.means.uncertain or error.means.final)
    return isinstance(error, Exception)
