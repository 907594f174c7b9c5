"""What the service calls it when money or quota is gone, in statuses of sessions and in errors."""

from __future__ import annotations

import re
from typing import Any, Literal

Scope = Literal["session", "user", "organization", "unknown"]

# What the service says when money is gone, by the letters alone: spellings vary.
_MONEY: dict[str, Scope] = {
    "usage_limit_exceeded": "session",
    "total_session_limit_exceeded": "unknown",
    "user_usage_limit_exceeded": "user",
    "org_usage_limit_exceeded": "organization",
    "out_of_credits": "organization",
    "out_of_quota": "organization",
    "no_quota_allocation": "organization",
    "payment_declined": "organization",
    "contract_expired": "organization",
}
_LETTERS = re.compile("[^a-z]")
_BY_LETTERS = {_LETTERS.sub("", code): scope for code, scope in _MONEY.items()}


def money_scope(code: Any) -> Scope | None:
    """Return whose money is gone by a code such as ``out_of_quota``; None if it is no such code.

    The code may be spelled ``out-of-quota``, ``OutOfQuota`` or ``Out of quota.``.
    """
    return _BY_LETTERS.get(_LETTERS.sub("", code.lower())) if isinstance(code, str) else None
