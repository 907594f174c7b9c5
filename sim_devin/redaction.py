"""Remove secrets from all text and values that leave the program: by name and by value."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from sim_devin.errors import SimDevinError
from sim_devin.secret_names import is_secret_name

MASK = "***"
SHORTEST = 6  # a shorter value would hide ordinary text; it is still masked by name
_SHORTEST_ODD = 4  # the same for a value with characters that ordinary text does not have
_ODD = re.compile(r"[^\w\s.,:;/'()-]")

# Devin's credentials start with cog_ (v3) or apk_ (v1, v2): mask them wherever they come from.
_DEVIN_KEY = re.compile(r"\b(?:cog|apk)_[A-Za-z0-9_\-]{6,}")
_QUERY = re.compile(r"([?&;])([^=&;#?\s\"'<>]{1,100})=([^&#\s\"'<>]+)")
_USER_INFO = re.compile(r"(://[^/\s:@?#\"'<>]*:)([^/\s@?#\"'<>]+)@")
_SIGNING = re.compile(r"(?i)x-(?:amz|goog|ms)-.*|signature|sig")
# "name": "value" inside a text: JSON, the repr of a dict, or JSON inside a JSON text.
_NAME = r"[A-Za-z][\w.\-]{0,63}"
_MEMBER = re.compile(
    rf"""(?P<before>"(?P<json>{_NAME})"\s*:\s*)"(?:[^"\\]|\\.)+"
    |(?P<before_1>'(?P<repr>{_NAME})'\s*:\s*)(?:'(?:[^'\\]|\\.)+'|"(?:[^"\\]|\\.)+")
    |(?P<before_2>\\"(?P<nested>{_NAME})\\"\s*:\s*)
     \\"(?:[^\\"]|\\\\(?:\\\\|\\"|[^\\"]))+\\"
    """,
    re.DOTALL | re.VERBOSE,
)


def stands_out(value: str) -> bool:
    """Return whether a secret can be recognized in ordinary text."""
    least = _SHORTEST_ODD if _ODD.search(value) else SHORTEST
    return len(value) >= least


def _percent(value: str, safe: str = "") -> str:
    return quote(value.encode("utf-8", "replace"), safe=safe)


# The ways a secret is spelled inside other text, by name: the names are stored.
SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "": lambda value: value,
    "stripped": str.strip,
    "json": lambda value: json.dumps(value)[1:-1],
    "json-utf8": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "json-slash": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    "json-twice": lambda value: json.dumps(json.dumps(value)[1:-1])[1:-1],
    "json-utf8-twice": lambda value: json.dumps(
        json.dumps(value, ensure_ascii=False)[1:-1], ensure_ascii=False
    )[1:-1],
    "url": _percent,
    "url-path": lambda value: _percent(value, safe="/"),
    "url-component": lambda value: _percent(value, safe="!'()*"),  # as JavaScript writes it
    "url-whole": lambda value: _percent(value, safe=";,/?:@&=+$#!'()*"),  # encodeURI
    "url-lower": lambda value: re.sub(
        "%[0-9A-F]{2}", lambda found: found[0].lower(), _percent(value)
    ),
    "form": lambda value: quote_plus(value.encode("utf-8", "replace")),
    "html": html.escape,
    "repr": lambda value: repr(value)[1:-1],
    "repr-quoted": lambda value: repr("'\"" + value)[4:-1],  # with both kinds of quotes
}


class Credentials(dict[str, str]):
    """Credential fields and their values, with a repr that shows only the names."""

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self)})"


class Redactor:
    """Masks a set of known secret values, and values whose names look secret.

    Values shorter than six characters are masked by name only, unless they contain characters
    that ordinary text does not have (``stands_out``).
    """

    def __init__(self, secrets: Iterable[object] = ()) -> None:
        forms: set[str] = set()
        for secret in secrets:
            if isinstance(secret, str) and stands_out(secret):
                forms |= spellings(secret)
        self._values = sorted(forms, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} spellings)"

    def text(self, text: str, *, queries: bool = True) -> str:
        """Return `text` with every known secret, key-like token and named secret masked.

        Without `queries` a URL keeps its signature, for a reader who has to fetch it.
        """
        text = self._known(text)
        text = _DEVIN_KEY.sub(MASK, text)
        if "://" in text:
            text = _USER_INFO.sub(rf"\g<1>{MASK}@", text)
        if queries and "=" in text:
            text = _QUERY.sub(_query, text)
        return _MEMBER.sub(_member, text) if ":" in text else text

    def _known(self, text: str) -> str:
        # A mask may complete another secret (one with asterisks in it), so repeat.
        while found := [value for value in self._values if value in text]:
            for value in found:
                text = text.replace(value, MASK)
        return text

    def data(self, value: Any, *, queries: bool = True) -> Any:
        """Return a copy of JSON data with secrets masked; `queries` as for `text`."""
        if isinstance(value, str):
            return self.text(value, queries=queries)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): MASK
                if isinstance(key, str) and is_secret_name(key) and _says_something(item)
                else self.data(item, queries=queries)
                for key, item in _row(value).items()
            }
        if isinstance(value, (int, float)) and str(value) in self._values:
            return MASK
        if isinstance(value, (list, tuple)):
            return [self.data(item, queries=queries) for item in value]
        return value

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return headers with the secret ones masked."""
        return {
            name: MASK if is_secret_name(name) else self.text(value)
            for name, value in headers.items()
        }

    def error(self, error: SimDevinError) -> SimDevinError:
        """Mask secrets in an error's text, in place, and return it."""
        error.args = tuple(self._masked(item) for item in error.args)
        for name, value in list(error.__dict__.items()):
            error.__dict__[name] = self._masked(value)
        return error

    def _masked(self, value: Any) -> Any:
        return self.data(value) if isinstance(value, (str, list, tuple, dict)) else value


def spans_by_name(text: str) -> Iterator[tuple[int, int]]:
    """Yield where a text contains named secrets: passwords and queries of URLs, members."""
    for found in _USER_INFO.finditer(text):
        yield found.span(2)
    for found in _QUERY.finditer(text):
        if _query(found) != found[0]:
            yield found.span(3)
    for found in _MEMBER.finditer(text):
        if _member(found) != found[0]:
            before = found["before"] or found["before_1"] or found["before_2"]
            quotes = 2 if found["nested"] else 1
            yield found.start() + len(before) + quotes, found.end() - quotes


def texts_by_name(value: Any, place: str = "", *, named: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the strings in JSON data at places whose names say that they are secret.

    These are values of keys and of table rows, and members, queries and passwords inside text. Each
    comes with its path.

    Args:
        value: the data.
        place: prefix of the paths.
        named: whether all of the data is at such a place.
    """
    if isinstance(value, str):
        if named:
            yield place, value
        else:
            for number, (start, end) in enumerate(spans_by_name(value)):
                yield f"{place}?{number}", value[start:end]
    elif isinstance(value, Mapping):
        masked = _row(value)
        for key, item in value.items():
            secret = named or masked[key] is not item or is_secret_name(str(key))
            yield from texts_by_name(item, f"{place}/{key}", named=secret)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from texts_by_name(item, f"{place}/{number}", named=named)


def _query(found: re.Match[str]) -> str:
    name = unquote(found[2])
    secret = is_secret_name(name) or _SIGNING.fullmatch(name)
    return f"{found[1]}{found[2]}={MASK}" if secret else found[0]


def _member(found: re.Match[str]) -> str:
    if not is_secret_name(found["json"] or found["repr"] or found["nested"]):
        return found[0]
    before = found["before"] or found["before_1"] or found["before_2"]
    quote = '\\"' if found["nested"] else found[0][len(before)]
    return f"{before}{quote}{MASK}{quote}"


def _says_something(value: Any) -> bool:
    return value not in (None, "", [], {}) and not isinstance(value, bool)


def _row(row: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return a table row ``{"Key": name, "Value": …}`` with a secret value masked."""
    keys = {str(key).lower(): key for key in row}
    name = row.get(keys.get("key", keys.get("name")))
    if not isinstance(name, str) or "value" not in keys or not is_secret_name(name):
        return row
    value = row[keys["value"]]
    return {**row, keys["value"]: MASK} if _says_something(value) else row


def spellings(secret: str) -> set[str]:
    """Return the ways a secret can be spelled in an error text, a URL or a JSON body."""
    plain = {secret, secret.strip()}
    return {
        spell(value)
        for value in plain
        if stands_out(value) or value == secret
        for spell in SPELLINGS.values()
    }
