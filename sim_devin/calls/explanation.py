"""The service's own words in an error answer, in whatever shape they come.

Found in the wild: RFC 9457 problem details, FastAPI's ``detail`` (a text, or a list of
failures), ``details``, ``message``, lists of either, ``errors`` (texts, objects, or field ->
texts), ``error`` as a text or an object, OAuth's ``error_description``, plain text, and pages
of proxies.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

DETAIL_LIMIT = 500  # characters of one explanation worth repeating
MOST_PROBLEMS = 20
DEEPEST = 6  # nested objects

_WORDS = (
    "detail",
    "details",
    "message",
    "error",
    "msg",
    "description",
    "error_description",
    "errorMessage",
    "error_message",
    "reason",
    "fault",
    "faultstring",
    "title",
    "code",
)
_LISTS = ("errors", "detail", "details", "message", "messages", "error", "problems", "violations")
_PLACES = ("loc", "field", "path", "param", "parameter", "pointer", "source", "name")
_HIDDEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<!--.*?-->", re.S | re.I)
_HEADING = re.compile(r"<(title|h1)\b[^>]*>(.*?)</\1\s*>", re.S | re.I)


def explain(payload: Any) -> tuple[str, list[str]]:
    """Return the explanation in the parsed body of an error, and its field-level problems.

    Problems are ``place: what``. Both are empty where the body says nothing.
    """
    if isinstance(payload, str):
        return _cut(payload), []
    if isinstance(payload, list):
        return "", [_problem(item) for item in payload[:MOST_PROBLEMS]]
    if not isinstance(payload, dict):
        return "", []
    detail, problems = _phrase(payload), list(_problems(payload))[:MOST_PROBLEMS]
    if not detail and not problems and any(_leaves(payload)):
        detail = json.dumps(payload, ensure_ascii=False)  # better than none of its words
    return _cut(detail), problems


def plain_words(text: str) -> str:
    """Return what a body that is not JSON says: its title if it is a page, else its text."""
    text = text.strip()
    if "<" in text:
        heading = _HEADING.search(text)
        text = heading[2] if heading else _HIDDEN.sub(" ", text)
        text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())
    return _cut(text)


def _phrase(node: Mapping[str, Any], depth: int = 0) -> str:
    """Return the first text at a member that explains an error."""
    for key in _WORDS:
        value = node.get(key)
        found = ""
        if isinstance(value, str):
            found = value.strip()
        elif isinstance(value, dict) and depth < DEEPEST:
            found = _phrase(value, depth + 1)
        if found:
            more = node.get("error_description")
            if key == "error" and isinstance(more, str) and more.strip():
                return f"{found}: {more.strip()}"
            return found
    return ""


def _problems(node: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    for key in _LISTS:
        value = node.get(key)
        if isinstance(value, list):
            yield from map(_problem, value)
        elif isinstance(value, dict) and depth < DEEPEST:
            yield from _problems(value, depth + 1)
            if key == "errors":
                for name, found in value.items():
                    if name not in (*_LISTS, *_WORDS):
                        yield _cut(f"{name}: {_text_of(found)}")


def _problem(item: Any) -> str:
    if not isinstance(item, dict):
        return _cut(_text_of(item))
    message = _phrase(item) or "; ".join(_problems(item))
    if not message:
        message = json.dumps(item, ensure_ascii=False) if any(_leaves(item)) else "invalid"
    return _cut(": ".join(filter(None, (_place(item), message))))


def _place(item: Mapping[str, Any]) -> str:
    for key in _PLACES:
        value = item.get(key)
        if isinstance(value, dict):
            value = value.get("pointer") or value.get("parameter")
        if isinstance(value, list):
            parts = [str(part) for part in value]
            value = ".".join(parts[1:] if parts[:1] == ["body"] else parts)
        if isinstance(value, str) and value:
            return value
    return ""


def _text_of(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text_of(item) for item in value[:MOST_PROBLEMS])
    if isinstance(value, dict):
        return _phrase(value) or json.dumps(value, ensure_ascii=False)
    return str(value).strip()


def _leaves(node: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts in a body that are not blank."""
    if isinstance(node, str):
        if node.strip():
            yield node
    elif depth <= DEEPEST and isinstance(node, (dict, list)):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _leaves(item, depth + 1)


def _cut(text: str) -> str:
    return text.strip()[:DETAIL_LIMIT]
