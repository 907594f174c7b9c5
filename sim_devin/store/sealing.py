"""Secrets out of what is stored, and back in by name.

A value that is known to be secret is replaced by its name wherever it stands in JSON data.
Whoever reads the data again has to know the value of that name, so a store holds no
secret, and a key that was changed meanwhile is used in its new form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from sim_devin.errors import MissingCredentials
from sim_devin.redaction import SHORTEST

OPEN, CLOSE = "⟦", "⟧"
OWN = "set:"  # begins the names of secrets that stand in a run's document: the run's own
_LITERAL = f"{OPEN}:{CLOSE}"  # an opening bracket that stood in the data
_NAME = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}")

# The ways a secret is spelled inside other texts.
_SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "": lambda value: value,
    "json": lambda value: json.dumps(value)[1:-1],
    "url": lambda value: quote(value, safe=""),
}


def marker(name: str) -> str:
    """Return what stands for the whole value of a secret."""
    return f"{OPEN}{name}{CLOSE}"


class Seal:
    """Takes secrets out of data and puts them back.

    `secrets` maps names to values; of several names for one value the first is used. Values
    of less than six characters stay, since they would match ordinary text. `find` is asked
    for names that are not among them when data is opened.
    """

    def __init__(
        self,
        secrets: Mapping[str, str],
        find: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._secrets = dict(secrets)
        self._find = find
        self._marks: dict[str, str] = {}
        for name, value in secrets.items():
            if len(value) < SHORTEST:
                continue
            for spelling, spell in _SPELLINGS.items():
                mark = marker(f"{name}|{spelling}" if spelling else name)
                self._marks.setdefault(spell(value), mark)
        longest_first = sorted(self._marks, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, [*longest_first, OPEN])))

    def __repr__(self) -> str:
        return f"Seal({', '.join(self._secrets)})"

    def close(self, value: Any) -> Any:
        """Return a copy of JSON data in which every secret is replaced by its name."""
        if isinstance(value, str):
            return self._pattern.sub(lambda found: self._marks.get(found[0], _LITERAL), value)
        if isinstance(value, Mapping):
            return {self.close(str(key)): self.close(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.close(item) for item in value]
        return value

    def open(self, value: Any) -> Any:
        """Return a copy of closed data with the secrets back in place.

        Raises:
            MissingCredentials: a name has no value here; names every one.
        """
        missing = list(dict.fromkeys(name for name in names(value) if self._value(name) is None))
        if missing:
            raise MissingCredentials(
                f"Not known here: {', '.join(map(describe, missing))}.",
                hint="Secrets are not stored with a run. Set them, and resume the run.",
            )
        return self._opened(value)

    def _opened(self, value: Any) -> Any:
        if isinstance(value, str):
            return _NAME.sub(self._restore, value) if OPEN in value else value
        if isinstance(value, dict):
            return {self._opened(key): self._opened(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._opened(item) for item in value]
        return value

    def _restore(self, found: re.Match[str]) -> str:
        if found[0] == _LITERAL:
            return OPEN
        name, _, spelling = found[1].partition("|")
        return _SPELLINGS[spelling](self._value(name) or "")

    def _value(self, name: str) -> str | None:
        if name not in self._secrets:
            value = self._find(name)
            if value is None:
                return None
            self._secrets[name] = value
        return self._secrets[name]


Seals = Callable[[str | None], Seal]
"""Run -> its seal; None -> one for what runs share."""


def names(value: Any) -> Iterator[str]:
    """Yield the names of the secrets that were taken out of closed data."""
    if isinstance(value, str):
        if OPEN in value:
            for found in _NAME.finditer(value):
                if found[0] != _LITERAL:
                    yield found[1].partition("|")[0]
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from names(key)
            yield from names(item)
    elif isinstance(value, list):
        for item in value:
            yield from names(item)


def describe(name: str) -> str:
    """Return a secret's name (``env:…``, ``app:…``, ``set:…``) in words."""
    kind, _, rest = name.partition(":")
    return {
        "env": f"the variable {rest}",
        "app": f"the credential {rest}",
        "set": f"the field {rest}",
    }.get(kind, rest)
