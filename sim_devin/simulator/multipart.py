"""The one file in a multipart/form-data body."""

from __future__ import annotations

from email.message import Message
from email.parser import HeaderParser

from sim_devin.simulator.answers import Problem


def uploaded_file(content_type: str, body: bytes) -> tuple[str, bytes, str | None]:
    """Return name, content and media type of the part ``file``, or raise the 422 `Problem`."""
    whole = Message()
    whole["Content-Type"] = content_type
    boundary = whole.get_boundary()
    if boundary and whole.get_content_type() == "multipart/form-data":
        delimiter = b"\r\n--" + boundary.encode("utf-8", "replace")
        for part in (b"\r\n" + body).split(delimiter)[1:]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            headers = HeaderParser().parsestr(head.decode("utf-8", "replace"))
            if headers.get_param("name", header="content-disposition") == "file":
                name = headers.get_filename() or "file"
                media_type = headers.get_content_type() if "Content-Type" in headers else None
                return name.replace("\\", "/").rsplit("/", 1)[-1] or "file", content, media_type
    error = {"loc": ["body", "file"], "msg": "Field required", "type": "missing"}
    raise Problem(422, "Request validation failed", [error])
