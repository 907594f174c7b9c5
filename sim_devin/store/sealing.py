"""Secrets out of what is stored, and back in by name.

A text that holds a known secret becomes a `Hidden` text: it reads as the text with masks in
place of the secrets, and it knows which secret stood where. In stored JSON it is an object of
one reserved key, so that no text, whoever wrote it, can be taken for one; data that has that
key itself is escaped. Whoever opens the data has to know the value of each name, so a store
holds no secret.

A credential that was changed meanwhile is used in its new form. A text that only happened to
hold the old value is another matter: the new one was never in it, and does not get into it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sim_devin.errors import MissingCredentials
from sim_devin.redaction import MASK, SPELLINGS, stands_out
from sim_devin.secret_names import is_secret_name

KEY = "$sealed"
OWN = "set:"  # begins the names of secrets that stand in a run's document: the run's own
_AS_TEXT = f'{{"{KEY}": '  # how a hidden text begins in a column that holds plain texts
_NUMBER = "number"  # the spelling of a secret that stands in the data as a number


@dataclass(frozen=True)
class Secret:
    """The place of a secret in a text.

    Attributes:
        name: ``env:…``, ``app:…`` or ``set:…``.
        spelling: how it is spelled there, a key of `redaction.SPELLINGS` or ``number``.
        mark: tells the value that was there from the one the name has later, see `mark_of`.
            Without one the place stands for whatever value the name has.
    """

    name: str
    spelling: str = ""
    mark: str = ""


class Hidden(str):
    """A text without the secrets in it. Shown, it has masks in their place.

    Attributes:
        parts: the text around them, and the secrets, in order.
    """

    __slots__ = ("parts",)
    parts: tuple[str | Secret, ...]

    def __new__(cls, parts: Iterable[str | Secret]) -> Hidden:
        """Return the text that these parts make up."""
        parts = tuple(parts)
        shown = "".join(MASK if isinstance(part, Secret) else part for part in parts)
        made = super().__new__(cls, shown)
        made.parts = parts
        return made

    def __eq__(self, other: object) -> bool:
        """Return whether the other hides the same in the same place."""
        return isinstance(other, Hidden) and self.parts == other.parts

    def __ne__(self, other: object) -> bool:
        """Return whether the other is not the same."""
        return not self == other

    def __hash__(self) -> int:
        """Return the hash of the parts."""
        return hash(self.parts)

    def __getnewargs__(self) -> Any:
        """Return what a copy is made of."""
        return (self.parts,)


def mark_of(name: str, value: str) -> str:
    """Return eight bits of a digest: enough to notice a change, too few to guess a value by."""
    return hashlib.sha256(f"{name}={value}".encode("utf-8", "surrogatepass")).hexdigest()[:2]


@lru_cache(64)  # a seal is made for every write, and the secrets are the same each time
def _searched(
    secrets: tuple[tuple[str, str], ...],
) -> tuple[Mapping[str, Secret], Mapping[str, Secret], re.Pattern[str]]:
    """Return the spellings of secrets, those that are too short, and what finds the former."""
    places: dict[str, Secret] = {}
    short: dict[str, Secret] = {}
    for name, value in secrets:
        if not stands_out(value):
            short.setdefault(value, Secret(name))
            continue
        for spelling, spell in SPELLINGS.items():
            if stands_out(spelled := spell(value)):
                places.setdefault(spelled, Secret(name, spelling, mark_of(name, value)))
    longest_first = sorted(places, key=len, reverse=True)
    return places, short, re.compile(f"({'|'.join(map(re.escape, longest_first))})")


class Seal:
    """Takes secrets out of data and puts them back.

    Args:
        secrets: name -> value; of several names for one value the first is used. One that
            does not stand out of ordinary text (`redaction.stands_out`) is only found under a
            key whose name says that it is secret.
        find: asked for the values of names that are not among them when data is opened.
        recorded: returns whether a name may be opened at all.
    """

    def __init__(
        self,
        secrets: Mapping[str, str],
        find: Callable[[str], str | None] = lambda _: None,
        recorded: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._secrets = dict(secrets)
        self._find = find
        self._recorded = recorded
        self._places, self._short, self._pattern = _searched(tuple(secrets.items()))

    def __repr__(self) -> str:
        return f"Seal({', '.join(self._secrets)})"

    # -- out ---------------------------------------------------------------------------------

    def close_credentials(self, value: Any) -> Any:
        """Return the same of data that is opened with the values the names have by then."""
        return _unmarked(self.close(value))

    def close(self, value: Any) -> Any:
        """Return a copy of JSON data in which texts with secrets in them are `Hidden`.

        What is hidden already stays as it is.
        """
        if isinstance(value, str):
            return self._closed(value)
        if isinstance(value, (dict, Mapping)):  # the quick question first
            return {self._closed(_key(key)): self._item(key, item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.close(item) for item in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            place = self._places.get(json.dumps(value)) if self._places else None
            return value if place is None else Hidden([replace(place, spelling=_NUMBER)])
        return self._closed(str(value))  # as `json.dumps(…, default=str)` would write it

    def _closed(self, text: str) -> str:
        if isinstance(text, Hidden) or not self._places or not self._pattern.search(text):
            return text
        pieces = self._pattern.split(text)  # every second one is a secret
        return Hidden(
            self._places[piece] if number % 2 else piece
            for number, piece in enumerate(pieces)
            if piece
        )

    def _item(self, key: Any, item: Any) -> Any:
        if self._short and isinstance(item, str) and is_secret_name(str(key)):
            found = None if isinstance(item, Hidden) else self._short.get(item)
            if found is not None:
                return Hidden([found])
        return self.close(item)

    # -- and back in ---------------------------------------------------------------------------

    def open(self, value: Any) -> Any:
        """Return a copy of closed data with the secrets back in place.

        Where a text held a value that its name no longer has, it gets ``{{NAME}}``, or a mask.

        Raises:
            MissingCredentials: a name has no value here; names every one.
        """
        missing = [name for name in dict.fromkeys(names(value)) if self._value(name) is None]
        if missing:
            raise MissingCredentials(
                f"Not available here: {', '.join(map(describe, missing))}.",
                hint="Secrets are not stored with a run. Set them, and resume the run.",
            )
        return self.open_known(value)

    def open_known(self, value: Any) -> Any:
        """Return the same, texts with secrets that have no value here left hidden."""
        if isinstance(value, Hidden):
            return self._opened(value)
        if isinstance(value, dict):
            return {self.open_known(key): self.open_known(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.open_known(item) for item in value]
        return value

    def _opened(self, hidden: Hidden) -> Any:
        pieces = []
        for part in hidden.parts:
            if isinstance(part, str):
                pieces.append(part)
                continue
            secret = self._value(part.name)
            if secret is None:
                return hidden
            if part.mark and part.mark != mark_of(part.name, secret):
                pieces.append(_placeholder(part.name))
                continue
            if part.spelling == _NUMBER:
                return _number(secret)
            pieces.append(SPELLINGS[part.spelling](secret))
        return "".join(pieces)

    def _value(self, name: str) -> str | None:
        if not self._recorded(name):
            return None
        if name not in self._secrets:
            value = self._find(name)
            if value is None:
                return None
            self._secrets[name] = value
        return self._secrets[name]


Seals = Callable[[str], Seal]
"""Run -> its seal."""


def no_secrets(_: str) -> Seal:
    """Return the seal of a run of which no secret is known."""
    return Seal({})


def names(value: Any) -> Iterator[str]:
    """Yield the names of the secrets that were taken out of closed data."""
    if isinstance(value, Hidden):
        yield from (part.name for part in value.parts if isinstance(part, Secret))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from names(key)
            yield from names(item)
    elif isinstance(value, list):
        for item in value:
            yield from names(item)


def describe(name: str) -> str:
    """Return a secret's name (``env:…``, ``app:…``, ``set:…``) in words."""
    kind, _, rest = name.partition("?")[0].partition(":")
    return {
        "env": f"the variable {rest}",
        "app": f"the credential {rest}",
        "set": f"the field {rest}",
    }.get(kind, rest)


def _placeholder(name: str) -> str:
    kind, _, rest = name.partition(":")
    return f"{{{{{rest}}}}}" if kind == "env" else MASK


def _unmarked(value: Any) -> Any:
    if isinstance(value, Hidden):
        return Hidden(replace(p, mark="") if isinstance(p, Secret) else p for p in value.parts)
    if isinstance(value, dict):
        return {_unmarked(key): _unmarked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    return value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else str(key)


def _number(secret: str) -> Any:
    try:
        return json.loads(secret)
    except ValueError:
        return secret


# -- as it is stored -----------------------------------------------------------------------------


def to_json(value: Any) -> Any:
    """Return closed data as JSON data, hidden texts as objects of the key ``$sealed``.

    ``{"$sealed": ["Bearer ", {"name": "env:TOKEN"}]}`` is a text with a secret in it, and
    ``{"$sealed": {"items": [[key, value], …]}}`` an object that has that key itself, or keys
    with secrets in them.
    """
    if isinstance(value, Hidden):
        return {KEY: [part if isinstance(part, str) else _to_json(part) for part in value.parts]}
    if isinstance(value, dict):
        if KEY in value or any(isinstance(key, Hidden) for key in value):
            items = [[to_json(key), to_json(item)] for key, item in value.items()]
            return {KEY: {"items": items}}
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value


def _to_json(secret: Secret) -> dict[str, str]:
    said = {"name": secret.name, "as": secret.spelling, "mark": secret.mark}
    return {key: item for key, item in said.items() if item}


def from_json(value: Any) -> Any:
    """Return closed data from what `to_json` made of it."""
    if isinstance(value, dict):
        sealed = value.get(KEY)
        if isinstance(sealed, list):
            return Hidden(
                part
                if isinstance(part, str)
                else Secret(part["name"], part.get("as", ""), part.get("mark", ""))
                for part in sealed
            )
        if isinstance(sealed, dict):
            return {from_json(key): from_json(item) for key, item in sealed["items"]}
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value


def read_json(text: str) -> Any:
    """Return closed data from JSON text."""
    value = json.loads(text)
    return from_json(value) if KEY in text else value


def to_text(text: str) -> str:
    """Return a closed text as it stands in a column of plain texts."""
    if isinstance(text, Hidden):
        return json.dumps(to_json(text))
    return json.dumps({KEY: [text]}) if text.startswith(_AS_TEXT) else text


def read_text(text: str) -> str:
    """Return the closed text that `to_text` made a column's value of."""
    if not text.startswith(_AS_TEXT):
        return text
    read: str = from_json(json.loads(text))
    return read if any(names(read)) else str(read)
