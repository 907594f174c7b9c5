"""What the simulator answers: success, and errors as problem details (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

Break = Literal["reset", "truncate", "timeout"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, and how its delivery goes wrong.

    `fault` is None for a delivery that works; ``"reset"``: the connection breaks and nothing
    arrives; ``"truncate"``: the head and half of the body arrive, then the connection ends;
    ``"timeout"``: the connection stays open and silent. `delay` is the number of real seconds
    that pass before the answer starts. A server acts on both; a caller in the same process
    turns them into its own transport errors.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    fault: Break | None = None
    delay: float = 0.0

    def json(self) -> Any:
        """Return the body as JSON data; `ValueError` when it is not JSON."""
        return json.loads(self.body)


class Problem(Exception):
    """An error answer. `errors` are the field-level failures of a 422; `code` is for programs."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Mapping[str, Any]] | None = None,
        *,
        code: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.code = code


def success(data: Any) -> Answer:
    """Return a 200 with `data` as its JSON body."""
    body = json.dumps(data, separators=(",", ":")).encode()
    return Answer(200, {"Content-Type": "application/json"}, body)


def failure(
    problem: Problem,
    instance: str,
    *,
    legacy: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return the answer for `problem`; `instance` is the request's path.

    With `legacy` the body is the one documented until mid-2026: ``{"detail": …}``, a list
    of failures for a 422 and a text for everything else.
    """
    errors = None if problem.errors is None else [dict(item) for item in problem.errors]
    data: dict[str, Any]
    if legacy:
        media_type = "application/json"
        data = {"detail": problem.detail if errors is None else errors}
    else:
        media_type = "application/problem+json"
        data = {
            "type": "about:blank",
            "title": title(problem.status),
            "status": problem.status,
            "detail": problem.detail,
            "instance": instance,
            "errors": errors,
        }
    if problem.code is not None:
        data["error_code"] = problem.code
    return Answer(
        problem.status,
        {"Content-Type": media_type, **(headers or {})},
        json.dumps(data, separators=(",", ":")).encode(),
    )


def title(status: int) -> str:
    """Return the standard reason phrase of `status`."""
    if status == 422:  # its name differs between Python versions
        return "Unprocessable Content"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
