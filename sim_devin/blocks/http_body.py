"""Bodies of the API block's requests: JSON, form fields in either encoding, or text as it is."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sim_devin.calls.request import encode_form
from sim_devin.engine.references import MISSING, parse_json, value_text

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


@dataclass(frozen=True)
class HttpBody:
    """What to send, as `Request.json` takes it, and the content type that it needs, if any."""

    content: Any
    content_type: str | None


def body_of(written: Any, fields: Iterable[tuple[str, Any]], content_type: str) -> HttpBody | None:
    """Return the body of a request; None for no body.

    Args:
        written: the block's body: text, or what it was parsed to. Text of an object or a list is
            JSON; an object becomes form fields where the content type says so.
        fields: form fields, sent instead as ``multipart/form-data``.
        content_type: the content type that the block's headers name; empty for none.
    """
    parts = list(fields)
    if parts:
        return _multipart(parts)
    if isinstance(written, str) and written.lstrip().startswith(("{", "[")):
        parsed = parse_json(written)
        written = written if parsed is MISSING else parsed
    if not written and not isinstance(written, (dict, list)):
        return None  # empty text, 0 and false as well, as in Sim
    kind = content_type.partition(";")[0].strip().lower()
    if isinstance(written, Mapping) and kind == FORM:
        pairs = ((name, field_text(value)) for name, value in written.items() if value is not None)
        return HttpBody(encode_form(pairs), None)
    if isinstance(written, Mapping) and kind == MULTIPART:
        return _multipart([(name, value) for name, value in written.items() if value is not None])
    if isinstance(written, str):
        # As bytes: a text would be written as a JSON text where the type is JSON.
        return HttpBody(written.encode("utf-8", "replace"), None if content_type else JSON)
    return HttpBody(written, None if content_type else JSON)


def field_text(value: Any) -> str:
    """Return a field's value as JavaScript's String() has it; objects as JSON."""
    if isinstance(value, list):
        return ",".join("" if item is None else field_text(item) for item in value)
    return value_text(value)


def _multipart(fields: list[tuple[str, Any]]) -> HttpBody:
    parts = [_part(name, value) for name, value in fields]
    # Derived from the content, so that the same fields make the same request.
    boundary = f"----sim-devin-{hashlib.sha256(b'-'.join(parts)).hexdigest()[:32]}"
    lines = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return HttpBody(lines + f"--{boundary}--\r\n".encode(), f"{MULTIPART}; boundary={boundary}")


def _part(name: str, value: Any) -> bytes:
    """Return one field as its part; a file is ``{"name", "data"}`` with base64, maybe a type."""
    about = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    data = _file_data(value)
    if data is None:
        lines = field_text(value).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        content = "\r\n".join(lines).encode("utf-8", "replace")
    else:
        content = data
        kind = value.get("mimeType") or value.get("type") or "application/octet-stream"
        about += f'; filename="{_quoted(str(value["name"]))}"\r\nContent-Type: {_quoted(str(kind))}'
    return about.encode("utf-8", "replace") + b"\r\n\r\n" + content


def _file_data(value: Any) -> bytes | None:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return None
    data = value.get("data")
    if not isinstance(data, str):
        return None
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None


def _quoted(text: str) -> str:
    """Return a name as the HTML standard writes it into a part's head."""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
