"""The endpoints of the API: bodies read, acts done once, errors answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sim_devin.errors import (
    ApiError,
    CallerError,
    CredentialsError,
    SimDevinError,
    StoreUnavailable,
    TransportError,
    UnknownName,
)
from sim_devin.runs.answers import AnsweredAlready
from sim_devin.specs.json_input import CannotBeTaken, read_json
from sim_devin.web.acts import HEADER, Acts, KeyMissing, key_of
from sim_devin.web.answer import ApiResponse
from sim_devin.web.documents import Changed

STATUS: Mapping[type[SimDevinError], int] = {
    KeyMissing: 400,
    AnsweredAlready: 409,
    Changed: 412,
    StoreUnavailable: 503,
    UnknownName: 404,
    CallerError: 422,
    CredentialsError: 422,
    TransportError: 502,
    ApiError: 502,
}

Endpoint = Callable[[Request], Awaitable[Response]]


class Endpoints:
    """Makes endpoints of functions from a request and its body to an answer.

    Args:
        acts: lets acts take effect once.
        masked: takes secrets out of answers.
    """

    def __init__(self, acts: Acts, masked: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._acts = acts
        self._masked = masked

    def of(
        self,
        answer: Callable[[Request, Any], Any],
        *,
        acts: bool,
        costs: bool,
        too_much: Callable[[str], Any] | None = None,
    ) -> Endpoint:
        """Return the endpoint of what answers.

        Args:
            answer: from a request and its body to an answer.
            acts: whether it takes effect, which it does once for each key.
            costs: whether that may cost money, so that a key is needed.
            too_much: what to answer to JSON that cannot be taken; it is refused without.
        """

        def responded(request: Request, body: Any) -> Response:
            found = answer(request, body)
            return found if isinstance(found, Response) else ApiResponse(found)

        async def endpoint(request: Request) -> Response:
            try:
                body = await _body(request)
                if not acts:
                    return await run_in_threadpool(responded, request, body)
                key = key_of(request.headers.get(HEADER), required=costs)
                request.state.key = key
                if key is None:
                    return await run_in_threadpool(responded, request, body)
                asked = await _asked(request)
                return await run_in_threadpool(
                    self._acts.once, key, asked, lambda: responded(request, body)
                )
            except SimDevinError as error:
                if too_much is not None and isinstance(error, CannotBeTaken):
                    return ApiResponse(too_much(error.message))
                return self.failed(error)

        return endpoint

    def failed(self, error: SimDevinError) -> Response:
        """Return the answer that an error comes to."""
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
        return ApiResponse(self._masked({"error": error.to_json()}), status)


async def _body(request: Request) -> Any:
    if request.method in ("GET", "HEAD"):
        return {}
    body = read_json(await request.body() or b"{}", "The body")
    if not isinstance(body, dict):
        raise CallerError("The body must be a JSON object.")
    return body


async def _asked(request: Request) -> bytes:
    """Return what a request asks for: whoever repeats it sends the same."""
    conditions = (request.headers.get("if-match", ""), request.headers.get("if-none-match", ""))
    return "\0".join((request.method, request.url.path, *conditions, "")).encode() + (
        await request.body()
    )
