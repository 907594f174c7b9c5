"""Texts as JavaScript has them: scalars, white space, halves of characters; similar names."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

# What JavaScript's trim() removes; Python's strip() removes more (U+001C to U+001F, U+0085).
JS_WHITESPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)


def text(value: Any) -> str:
    """Return a scalar as JavaScript's String() would: `true`, `3`, `0.5`, `1e+21`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10**21:
        value = _double(value)
    if isinstance(value, float):
        return _number_text(value)
    return "null" if value is None else str(value)


def _double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _number_text(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    shortest = Decimal(repr(value))
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        plain = f"{shortest:f}"
        plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
        return "0" if value == 0 else plain
    mantissa, _, power = repr(value).partition("e")
    return f"{mantissa}e{int(power):+d}"


def trim(value: str) -> str:
    """Return `value` without white space at its ends, as JavaScript sees white space."""
    return value.strip(JS_WHITESPACE)


def whole(value: str) -> str:
    """Return a text with halves of characters replaced, as one that was cut ends with.

    The service's answers keep them, as Sim does; but UTF-8 has no bytes for them.
    """
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def nearest(name: str, known: Iterable[str], *, limit: int = 3, cutoff: float = 0.5) -> list[str]:
    """Return up to `limit` of `known` that look like `name`, best first.

    `cutoff` is how alike they have to be, from 0 (not at all) to 1 (the same).
    """
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=cutoff)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence such as ``Did you mean 'limit'?``, or an empty string."""
    close = nearest(name, known)
    return f"Did you mean {' or '.join(repr(item) for item in close)}?" if close else ""
