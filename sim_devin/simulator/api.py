"""The HTTP side of the service: routes, permissions, and the form of what goes in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from sim_devin.simulator.access import Caller, Gate
from sim_devin.simulator.answers import Answer, Problem, failure, success
from sim_devin.simulator.links import SIGNED_FILES, Links
from sim_devin.simulator.model import Attachment
from sim_devin.simulator.multipart import uploaded_file
from sim_devin.simulator.service import Service
from sim_devin.simulator.validation import Query, json_object

LARGEST_BODY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived. `path` is percent-encoded; names of `headers` are lower-case."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    commit_delay: float = 0.0

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body, or raise the `Problem`."""
        return json_object(self.body, self.headers.get("content-type", ""))


class Api:
    """Routes requests to the operations of `service`, below the path `prefix`."""

    def __init__(self, service: Service, gate: Gate, prefix: str) -> None:
        self.service = service
        self.gate = gate
        self.prefix = prefix
        self.links = Links(prefix)

    def answer(self, request: Request) -> Answer:
        """Return the answer to `request`, an error included."""
        try:
            return self._route(request)
        except Problem as problem:
            legacy = self.service.switches.error_body == "legacy"
            return failure(problem, request.path, legacy=legacy)

    def _route(self, request: Request) -> Answer:
        if len(request.body) > LARGEST_BODY:
            raise Problem(413, f"Body is larger than {LARGEST_BODY} bytes")
        if request.path.startswith(SIGNED_FILES):
            return self._signed_file(request)
        if not request.path.startswith(f"{self.prefix}/"):
            raise Problem(404, "Not Found")
        parts = [unquote(part) for part in request.path[len(self.prefix) + 1 :].split("/")]
        authorization = request.headers.get("authorization", "")
        switches = self.service.switches
        if parts == ["self"]:
            _method(request, ("GET",))
            return success(self.gate.identity(authorization, switches))
        route = None
        if len(parts) > 2 and parts[0] == "organizations":
            route = _ROUTES.get((parts[2], len(parts), parts[4] if len(parts) > 4 else ""))
        if route is None and len(parts) == 5 and parts[2] == "attachments":
            route = _DOWNLOAD
        if route is None:
            raise Problem(404, "Not Found")
        _method(request, route)
        operation, permission = route[request.method]
        caller = self.gate.caller(authorization, parts[1], switches)
        caller.require(permission or switches.create_permission)
        return operation(self, caller, parts[3:], request)

    def _signed_file(self, request: Request) -> Answer:
        """Answer for a signed address, which needs no key."""
        _method(request, ("GET",))
        org_id, attachment_id, name = self.links.verify(request.path, dict(request.query))
        file = self.service.file(org_id, attachment_id, name)
        media_type = file.content_type or "application/octet-stream"
        return Answer(200, {"Content-Type": media_type}, file.content)

    def file_url(self, request: Request, org_id: str, file: Attachment) -> str:
        """Return the address that the service shows for `file`."""
        form = self.service.switches.attachment_url
        return self.links.shown(form, request.headers.get("host"), org_id, file)


def _method(request: Request, allowed: Sequence[str] | Mapping[str, Any]) -> None:
    if request.method not in allowed:
        raise Problem(405, f"Method not allowed; allowed: {', '.join(allowed)}")


def _create(api: Api, caller: Caller, _: list[str], request: Request) -> Answer:
    devin_id = dict(request.query).get("devin_id")
    return success(
        api.service.create(
            caller, request.json(), devin_id=devin_id, commit_delay=request.commit_delay
        )
    )


def _list(api: Api, caller: Caller, _: list[str], request: Request) -> Answer:
    return success(api.service.list_sessions(caller, Query(request.query)))


def _get(api: Api, caller: Caller, parts: list[str], _: Request) -> Answer:
    return success(api.service.get(caller, parts[0]))


def _terminate(api: Api, caller: Caller, parts: list[str], request: Request) -> Answer:
    query = Query(request.query)
    archive = query.boolean("archive")
    query.finish()
    return success(api.service.terminate(caller, parts[0], archive=archive is True))


def _archive(api: Api, caller: Caller, parts: list[str], _: Request) -> Answer:
    return success(api.service.archive(caller, parts[0]))


def _unarchive(api: Api, caller: Caller, parts: list[str], _: Request) -> Answer:
    return success(api.service.unarchive(caller, parts[0]))


def _send_message(api: Api, caller: Caller, parts: list[str], request: Request) -> Answer:
    return success(api.service.send_message(caller, parts[0], request.json()))


def _list_messages(api: Api, caller: Caller, parts: list[str], request: Request) -> Answer:
    return success(api.service.list_messages(caller, parts[0], Query(request.query)))


def _get_tags(api: Api, caller: Caller, parts: list[str], _: Request) -> Answer:
    return success(api.service.tags(caller, parts[0]))


def _append_tags(api: Api, caller: Caller, parts: list[str], request: Request) -> Answer:
    return success(api.service.set_tags(caller, parts[0], request.json(), append=True))


def _replace_tags(api: Api, caller: Caller, parts: list[str], request: Request) -> Answer:
    return success(api.service.set_tags(caller, parts[0], request.json(), append=False))


def _list_attachments(api: Api, caller: Caller, parts: list[str], request: Request) -> Answer:
    items = [
        {
            "attachment_id": file.attachment_id,
            "name": file.name,
            "url": api.file_url(request, caller.org_id, file),
            "source": file.source,
            "content_type": file.content_type,
        }
        for file in api.service.attachments(caller, parts[0])
    ]
    bare = api.service.switches.attachments_envelope == "array"
    return success(items if bare else {"items": items})


def _upload(api: Api, caller: Caller, _: list[str], request: Request) -> Answer:
    content_type = request.headers.get("content-type", "")
    name, content, media_type = uploaded_file(content_type, request.body)
    file = api.service.upload(caller, name, content, media_type)
    url = api.file_url(request, caller.org_id, file)
    return success({"attachment_id": file.attachment_id, "name": file.name, "url": url})


def _download(api: Api, caller: Caller, parts: list[str], request: Request) -> Answer:
    file = api.service.file(caller.org_id, *parts)
    host = request.headers.get("host")
    return Answer(307, {"Location": api.links.signed(host, caller.org_id, file)})


_Operation = Callable[[Api, Caller, list[str], Request], Answer]
_Route = dict[str, tuple[_Operation, str]]

_USE, _VIEW, _MANAGE = "UseDevinSessions", "ViewOrgSessions", "ManageOrgSessions"

# By what stands after the organization: kind of thing, number of segments, last segment.
# An empty permission is the one that the switch `create_permission` names.
_ROUTES: dict[tuple[str, int, str], _Route] = {
    ("sessions", 3, ""): {"GET": (_list, _VIEW), "POST": (_create, "")},
    ("sessions", 4, ""): {"GET": (_get, _VIEW), "DELETE": (_terminate, _MANAGE)},
    ("sessions", 5, "messages"): {
        "GET": (_list_messages, _VIEW),
        "POST": (_send_message, _MANAGE),
    },
    ("sessions", 5, "attachments"): {"GET": (_list_attachments, _VIEW)},
    ("sessions", 5, "tags"): {
        "GET": (_get_tags, _VIEW),
        "POST": (_append_tags, _MANAGE),
        "PUT": (_replace_tags, _MANAGE),
    },
    ("sessions", 5, "archive"): {"POST": (_archive, _MANAGE)},
    ("sessions", 5, "unarchive"): {"POST": (_unarchive, _MANAGE)},
    ("attachments", 3, ""): {"POST": (_upload, _USE)},
}
_DOWNLOAD: _Route = {"GET": (_download, _VIEW)}
