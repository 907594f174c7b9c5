"""Spec and an HTTP answer → the tool's output, or an error. Pure: no I/O, no clock."""

from __future__ import annotations

import copy
import email.utils
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sim_devin.calls.explanation import explain, plain_words
from sim_devin.calls.money import money_scope
from sim_devin.errors import (
    ApiError,
    AuthenticationFailed,
    BadRequest,
    Conflict,
    NotFound,
    OutOfQuota,
    PermissionDenied,
    RateLimited,
    ServerError,
    UnreadableResponse,
)
from sim_devin.specs.json_input import NotJson, parse_json
from sim_devin.specs.models import PLACEHOLDER, Schema, SuccessOn, ToolSpec

PROBLEMS_LIMIT = 1500  # characters of all listed problems together

DEEPEST_ERROR = 6  # levels of an error body that are read
_MONEY = ("out_of_quota", "out_of_credits", "no_quota_allocation", "payment_declined", "quota")
_REQUEST_ID = ("x-request-id", "request-id", "cf-ray", "x-amzn-trace-id")


@dataclass(frozen=True)
class Response:
    """One HTTP answer: `body` as the bytes that came, header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300

    def __repr__(self) -> str:
        # What a service answers may repeat a secret it was sent.
        return f"Response({self.status}, {len(self.body)} bytes)"


def read(
    spec: ToolSpec,
    response: Response,
    params: Mapping[str, Any] | None = None,
    *,
    now: float | None = None,
) -> dict[str, Any]:
    """Return the output of `spec` read from `response`.

    An empty success of a tool that changes something is accepted: its output holds what
    `params` (of the call, if known) say and null for the rest.

    Raises:
        ApiError: the answer is not a success; the subclass says which kind.
        UnreadableResponse: a success that does not have the tool's shape.
    """
    if not response.ok:
        if _is_success(spec.traits.success_on, response):
            return _accepted(spec, params)
        named = PLACEHOLDER.findall(spec.request.path) if spec.request else ()
        raise api_error(response, permission=spec.permission, names=named, now=now)
    if not response.body.strip():
        if spec.traits.read_only:
            raise _unreadable(spec, response, "the response is empty")
        if _unknown(spec):
            raise _unreadable(spec, response, "the response is empty")
        return _accepted(spec, params)
    payload = _parse(spec, response)
    if payload == {} and _may_be_empty(spec):
        known = params or {}
        return {
            name: known.get(name) if name in _required(spec) else copy.copy(item.get("default"))
            for name, item in spec.answer["properties"].items()
        }
    output = _take(spec, response, spec.answer, payload)
    for name in _required(spec):
        if output.get(name) is None and name in spec.properties:
            output[name] = (params or {}).get(name)  # the call itself says it
            continue
        wrong = _wrong(spec.answer["properties"][name], output.get(name))
        if wrong:
            raise _unreadable(spec, response, f"{name} {wrong}")
    return output


def _wrong(schema: Schema, value: Any) -> str:
    """Return what is wrong with a value that has to be there; empty if nothing is."""
    if value is None:
        return "is missing"
    kinds = schema.get("type", ())
    if "string" in ([kinds] if isinstance(kinds, str) else kinds):
        if not isinstance(value, str):
            return f"is {_kind(value)}, not text"
        if not value.strip():
            return "is blank"
    return ""


def _required(spec: ToolSpec) -> tuple[str, ...]:
    return tuple(spec.answer.get("required", ()))


def _may_be_empty(spec: ToolSpec) -> bool:
    """Return whether ``{}`` is an answer: nothing in it is needed, and the spec says so.

    A tool that changes something says so by requiring nothing that only the answer can tell; one
    that reads by ``"required": []``, or by a default for every output.
    """
    if _unknown(spec):
        return False
    outputs = spec.answer["properties"].values()
    says_so = spec.answer.get("required") == [] or all("default" in item for item in outputs)
    return says_so or not spec.traits.read_only


def _unknown(spec: ToolSpec) -> list[str]:
    """Return the required outputs that only the answer can tell: no parameter holds them."""
    return [name for name in _required(spec) if name not in spec.properties]


def _take(spec: ToolSpec, response: Response, schema: Schema, payload: Any) -> dict[str, Any]:
    properties: Mapping[str, Schema] = schema["properties"]
    if isinstance(payload, list) and len(properties) == 1:
        # A bare array of objects stands for the one property (list attachments).
        for name, item in properties.items():
            if _item_properties(item) is not None:
                payload = {item.get("x-from", name): payload}
    if not isinstance(payload, dict):
        raise _unreadable(spec, response, f"expected a JSON object, got {_kind(payload)}")
    wires = {name: item.get("x-from", name) for name, item in properties.items()}
    if not any(wire in payload for wire in wires.values()):
        raise _unreadable(
            spec, response, f"the response has none of {', '.join(sorted(wires.values()))}"
        )
    return {
        name: _value(spec, response, name, item, payload.get(wires[name]))
        for name, item in properties.items()
    }


def _value(spec: ToolSpec, response: Response, name: str, schema: Schema, value: Any) -> Any:
    if value is None:
        return copy.copy(schema.get("default"))
    item_properties = _item_properties(schema)
    if item_properties is None:
        return value  # unknown types pass through: enums and extra fields drift
    if not isinstance(value, list):
        raise _unreadable(spec, response, f"{name} is {_kind(value)}, not a list")
    items: list[dict[str, Any]] = []
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise _unreadable(spec, response, f"{name}[{index}] is {_kind(item)}, not an object")
        items.append(
            {
                key: _value(spec, response, key, sub, item.get(sub.get("x-from", key)))
                for key, sub in item_properties.items()
            }
        )
    return items


def _item_properties(schema: Schema) -> Mapping[str, Schema] | None:
    """Return the properties of a list's items if they are to be renamed, else None."""
    properties: Mapping[str, Schema] = schema.get("items", {}).get("properties", {})
    return properties if any("x-from" in item for item in properties.values()) else None


def _accepted(spec: ToolSpec, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an output for a success without a body: what the call itself told, else null."""
    known = params or {}
    required = _required(spec)
    return {
        name: known.get(name) if name in required else None for name in spec.answer["properties"]
    }


def _parse(spec: ToolSpec, response: Response) -> Any:
    try:
        # JSON could not carry on a number too large for a double.
        return parse_json(_text(response), clip=True)
    except NotJson as error:
        kind = response.headers.get("content-type", "no content type")
        why = str(error).removeprefix("is not JSON: ")
        raise _unreadable(spec, response, f"the response is not JSON ({kind}: {why})") from None


def _text(response: Response) -> str:
    """Return the body as Fetch reads one: broken UTF-8 replaced, no byte order mark."""
    return response.body.decode("utf-8", "replace").removeprefix("\ufeff")


def _unreadable(spec: ToolSpec, response: Response, why: str) -> UnreadableResponse:
    accepted = not spec.traits.read_only
    hint = (
        "The request was accepted and may have taken effect: do not repeat it; check first."
        if accepted
        else "Nothing was changed; it is safe to retry."
    )
    return UnreadableResponse(
        f"{spec.id} returned {response.status}, but {why}.",
        status=response.status,
        accepted=accepted,
        hint=hint,
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _is_success(rules: Iterable[SuccessOn], response: Response) -> bool:
    body = response.body.decode("utf-8", "replace").lower()
    return any(rule.status == response.status and rule.contains.lower() in body for rule in rules)


# -- errors ----------------------------------------------------------------------------------


def api_error(
    response: Response,
    *,
    permission: str = "",
    names: Iterable[str] = (),
    now: float | None = None,
) -> ApiError:
    """Return the error that a non-success answer stands for.

    Its message carries the service's own words, see `explanation`. `permission` is the one the
    operation needs, named in a 403's hint; `names` are the parameters that stand in the path, named
    in a 404's. `now` (Unix seconds) turns a ``Retry-After`` date into
    seconds.
    """
    payload, status = _payload(response), response.status
    if payload is None:
        payload = plain_words(response.body.decode("utf-8", "replace"))
    detail, problems = explain(payload)
    cls, hint = _classify(response, permission, list(names))
    message = f"HTTP {status}: {detail}" if detail else f"HTTP {status}"
    if problems:
        message += f" ({'; '.join(problems)[:PROBLEMS_LIMIT]})"
    return cls(
        message if message.endswith((".", "!", "?")) else f"{message}.",
        status=status,
        detail=detail,
        problems=problems,
        request_id=next(
            (response.headers[name] for name in _REQUEST_ID if name in response.headers), None
        ),
        retry_after=retry_after(response.headers, now=now),
        hint=hint,
    )


def _classify(response: Response, permission: str, names: list[str]) -> tuple[type[ApiError], str]:
    status = response.status
    if status == 401:
        return AuthenticationFailed, "The API key is missing, wrong or revoked; set a valid one."
    if is_about_money(response):
        return OutOfQuota, "The organization is out of quota or credits: a billing matter."
    if status == 403:
        needed = f" It requires the permission {permission}." if permission else ""
        return PermissionDenied, f"The key lacks permission (or none was sent).{needed}"
    if status == 404:
        return NotFound, f"Check {' and '.join(names) or 'the address'}."
    if status == 409:
        return Conflict, "The present state does not allow this; check it first."
    if status in (400, 422):
        return BadRequest, "Correct the parameters named above."
    if status == 429:
        return RateLimited, "Rate limited; wait and try again."
    if status >= 500:
        return ServerError, "The service failed; try again later."
    if 300 <= status < 400:
        return ApiError, "The service redirected elsewhere; check the base URL."
    return ApiError, ""


def is_about_money(response: Response) -> bool:
    """Return whether an error answer says that money or quota is gone: no repeat helps.

    A 402 always does, and a 403 that speaks of quota. Any other refusal, a 429 among them, does
    if it names a code of its own for that, such as ``out_of_quota``, in whatever member.
    """
    status = response.status
    if status == 402:
        return True
    if not 400 <= status < 500 or status == 401:
        return False
    payload = _payload(response)
    texts = list(_texts(_text(response) if payload is None else payload))
    if any(money_scope(text) is not None for text in texts):
        return True
    return status == 403 and any(word in text.lower() for text in texts for word in _MONEY)


def _texts(node: Any, depth: int = 0) -> Iterator[str]:
    """Yield what an error body says, but for the address of the request."""
    if isinstance(node, str):
        yield node
    elif depth < DEEPEST_ERROR and isinstance(node, dict):
        for key, value in node.items():
            if key != "instance":
                yield from _texts(value, depth + 1)
    elif depth < DEEPEST_ERROR and isinstance(node, list):
        for item in node:
            yield from _texts(item, depth + 1)


def _payload(response: Response) -> Any:
    try:
        return parse_json(_text(response), clip=True)
    except NotJson:
        return None


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Return the seconds a ``Retry-After`` header asks to wait, or None without a usable one.

    A date counts from `now` (Unix seconds; the machine's time unless given) and is never
    negative.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return seconds if 0 <= seconds < 1e9 else None
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    reference = datetime.now(UTC).timestamp() if now is None else now
    return max(0.0, moment.timestamp() - reference)
