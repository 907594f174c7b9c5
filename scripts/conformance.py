"""Run recorded cases of what Sim does through our own code, and account for every difference.

    python scripts/conformance.py [FOLDER]    print how far the cases of a folder agree
    python scripts/conformance.py --write     also write docs/compatibility.md

A case deviates with reason when reasons, applied to Sim's outcome, give exactly ours, or when
each problem that our refusal lists is accounted for. Exit code 1 when a deviation is left
without a reason, or when a documented reason accounts for no case.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from conformance_page import Tally, page, report

from sim_devin.app import App, open_app
from sim_devin.calls.request import VERSION, Request
from sim_devin.errors import (
    ApiError,
    InvalidParams,
    MissingCredentials,
    SimDevinError,
    UnknownName,
    UnreadableResponse,
)
from sim_devin.specs.models import ToolSpec
from sim_devin.specs.schema import number
from sim_devin.text import text, trim

ROOT = Path(__file__).parent.parent
CASES = ROOT / "tests" / "conformance"
PAGE = ROOT / "docs" / "compatibility.md"

BASE = "https://api.devin.ai/v3"
CREDENTIALS = ("apiKey", "orgId")
IDS = ("orgId", "sessionId")
OURS_ALWAYS = {"Accept": "application/json", "User-Agent": f"sim-devin/{VERSION}"}
_JS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf"), "-0": -0.0}

Explained = set[str] | None  # the reasons of a deviation (none: it agrees), None: unexplained


class NoNetwork:
    """A transport for what must not send."""

    def send(self, request: Request, *, timeout: float) -> Any:
        """Fail."""
        raise AssertionError(f"{request!r} was sent, with {timeout} s to go")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", nargs="?", type=Path, default=CASES, help="folder of cases")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    tallies = run(options.path)
    if options.write:
        PAGE.write_text(page(tallies), encoding="utf-8")
    return report(tallies)


def run(path: Path) -> list[Tally]:
    """Return what comes out of the cases of a folder."""
    env = {"SIM_DEVIN_CONFIG": os.devnull}  # not the settings of whoever runs this
    with open_app(transport=NoNetwork(), env=env, discover=False, retries=0) as app:
        return [
            _run_file(path / f"{surface}.json", surface, partial(explain, app))
            for surface, explain in (
                ("request", explain_request),
                ("response", explain_response),
                ("block", explain_block),
            )
        ]


def _run_file(file: Path, surface: str, explain: Callable[[Mapping[str, Any]], Explained]) -> Tally:
    document = json.loads(file.read_text(encoding="utf-8"))
    tally = Tally(surface)
    for case in document["cases"] if isinstance(document, dict) else document:
        group = case["group"]
        tally.cases[group] += 1
        reasons = explain(case)
        if reasons == set():
            continue
        tally.deviating[group] += 1
        if reasons is None:
            tally.unexplained.append(f"{case['id']} ({group})")
        for reason in reasons or ():
            tally.reasons[reason].add(case["id"])
    return tally


def from_js(value: Any) -> Any:
    """Return a recorded value with the numbers JSON has no word for.

    What JSON leaves out of objects is left out, and null in lists, as JSON.stringify has it.
    """
    if isinstance(value, dict):
        if "$js" in value:
            return _JS.get(str(value["$js"]))
        return {k: from_js(v) for k, v in value.items() if not _is_nothing(v)}
    return [from_js(item) for item in value] if isinstance(value, list) else value


def _is_nothing(value: Any) -> bool:
    return isinstance(value, dict) and "$js" in value and str(value["$js"]) not in _JS


def params_of(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded parameters; `undefined` is the same as left out."""
    return {k: from_js(v) for k, v in recorded.items() if not _is_nothing(v)}


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are the same: numbers by value, but 1 is not true."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one is other or bool(one == other)


# -- requests --------------------------------------------------------------------------------


def explain_request(app: App, case: Mapping[str, Any]) -> Explained:
    """Return why our request differs from Sim's."""
    spec = app.registry.tool(case["tool"])
    params = params_of(case["params"])
    expected = case["expect"]
    try:
        request = app.build_request(spec.id, params)
    except SimDevinError as error:
        return set() if "throws" in expected else refusal_reasons(spec, params, error)
    numbers = _numbers_for_text(spec, params)
    if numbers:
        return {"number_for_text"} if request == app.build_request(spec.id, numbers) else None
    if "throws" in expected:
        return None
    headers = dict(request.headers)
    if any(headers.pop(name, None) != value for name, value in OURS_ALWAYS.items()):
        return None
    path = spec.request.path if spec.request else ""
    sim = {**expected, "path": path}
    ours = {"method": request.method, "url": request.url, "headers": headers}
    ours |= {"body": request.json, "path": path}
    reasons = set()
    for reason, rewrite in REWRITES.items():
        rewritten = rewrite(params, sim)
        if not same(rewritten, sim):
            reasons.add(reason)
            sim = rewritten
    return reasons if same(sim, ours) else None


def _numbers_for_text(spec: ToolSpec, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with texts for numbers where text is wanted; nothing without any."""
    odd = {
        name: text(value)
        for name, value in params.items()
        if spec.properties.get(name, {}).get("type") == "string"
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    }
    return {**params, **odd} if odd else {}


Params = Mapping[str, Any]
Sent = dict[str, Any]  # method, url, headers, body, and the path as the spec writes it


def _with_encoded_ids(params: Params, sim: Sent) -> Sent:
    raw = encoded = BASE + sim["path"]
    for name in IDS:
        value = trim(params.get(name, ""))
        raw = raw.replace(f"{{{name}}}", value)
        encoded = encoded.replace(f"{{{name}}}", quote(_without_surrogates(value), safe=""))
    if not sim["url"].startswith(raw):
        return sim
    return {**sim, "url": encoded + sim["url"].removeprefix(raw)}


def _without_surrogates(value: str) -> str:
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value)


def _with_distinct_tags(_params: Params, sim: Sent) -> Sent:
    tags = (sim["body"] or {}).get("tags")
    return sim if not tags else {**sim, "body": {**sim["body"], "tags": list(dict.fromkeys(tags))}}


def _with_listed_tags(params: Params, sim: Sent) -> Sent:
    given = params.get("tags")
    if not isinstance(given, str) or not given.startswith("["):
        return sim
    try:
        return {**sim, "body": {**sim["body"], "tags": json.loads(given)}}
    except ValueError:
        return sim


def _with_true_archive(params: Params, sim: Sent) -> Sent:
    if params.get("archive") != "false":
        return sim
    return {**sim, "url": sim["url"].removesuffix("?archive=true")}


def _with_plain_limit(params: Params, sim: Sent) -> Sent:
    limit = params.get("limit")
    parsed = whole(limit)
    if not isinstance(limit, str) or parsed is None:
        return sim
    before, _, after = sim["url"].partition("?first=")
    rest = after.partition("&")
    return {**sim, "url": f"{before}?first={parsed}{rest[1]}{rest[2]}"}


def _with_number_cap(_params: Params, sim: Sent) -> Sent:
    body = sim["body"] or {}
    cap = body.get("max_acu_limit")
    if cap == "":
        return {**sim, "body": {k: v for k, v in body.items() if k != "max_acu_limit"}}
    if isinstance(cap, str) and whole(cap) is not None:
        return {**sim, "body": {**body, "max_acu_limit": whole(cap)}}
    return sim


REWRITES: Mapping[str, Callable[[Params, Sent], Sent]] = {
    "encoded_id": _with_encoded_ids,
    "listed_tags": _with_listed_tags,
    "distinct_tags": _with_distinct_tags,
    "archive_false": _with_true_archive,
    "plain_limit": _with_plain_limit,
    "number_cap": _with_number_cap,
}


def whole(value: Any) -> int | None:
    """Return the whole number a value says, or None."""
    parsed = number(value) if isinstance(value, str) else value
    if isinstance(parsed, bool) or not isinstance(parsed, (int, float)):
        return None
    return int(parsed) if parsed == parsed // 1 and abs(parsed) < 2**63 else None


def refusal_reasons(spec: ToolSpec, params: Mapping[str, Any], error: SimDevinError) -> Explained:
    """Return why we refuse what Sim would have sent; every problem has to be accounted for."""
    if isinstance(error, MissingCredentials):
        blank = any(is_blank(params.get(name)) for name in CREDENTIALS)
        return {"blank_credential"} if blank else None
    if not isinstance(error, InvalidParams):
        return None
    reasons = [
        refusal_reason(spec, name, params.get(name))
        for name in (p.partition(":")[0].partition("[")[0] for p in error.problems)
    ]
    return None if None in reasons else {reason for reason in reasons if reason}


def refusal_reason(spec: ToolSpec, name: str, value: Any) -> str | None:
    """Return why a value is refused, worked out from the value alone."""
    if name not in (*spec.properties, *CREDENTIALS):
        return "unknown_parameter"
    text = isinstance(value, str)
    if name in spec.required and is_blank(value):
        return "blank_tags" if name == "tags" else "blank_required"
    if name == "limit":
        return None if 1 <= (whole(value) or 0) <= 200 else "limit_range"
    if name == "maxAcuLimit":
        return None if (whole(value) or 0) >= 1 else "cap_junk"
    if name == "archive":
        return None if isinstance(value, bool) or value in ("true", "false") else "archive_junk"
    if name == "tags":
        odd = not (text or isinstance(value, list)) or any(
            isinstance(t, dict) for t in _tags(value)
        )
        return "wrong_type" if odd else "many_tags" if len(_tags(value)) > 50 else None
    if not text:
        return "wrong_type"
    if name in IDS and trim(value) in (".", ".."):
        return "path_segment"
    return "header_key" if name == "apiKey" and not _is_header(value) else None


def is_blank(value: Any) -> bool:
    """Return whether a value is absent, blank text, or tags that are all blank."""
    if isinstance(value, str):
        return not any(map(trim, value.split(",")))
    if isinstance(value, list):
        return value != [] and not any(trim(str(item)) for item in value)
    return value is None


def _tags(value: Any) -> list[Any]:
    return value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []


def _is_header(value: str) -> bool:
    return all(c == "\t" or " " <= c <= "~" or "\x80" <= c <= "\xff" for c in value)


# -- answers ---------------------------------------------------------------------------------


def explain_response(app: App, case: Mapping[str, Any]) -> Explained:
    """Return why what we read from an answer differs from Sim's."""
    spec = app.registry.tool(case["tool"])
    body = _body(case)
    expected = case["expect"]
    try:
        output = app.read_response(spec.id, case["status"], body=body)
    except ApiError as error:
        refused = case["status"] >= 300 and error.status == case["status"]
        return set() if "throws" in expected else {"error_status"} if refused else None
    except UnreadableResponse:
        return set() if "throws" in expected else _unreadable_reason(spec, json.loads(body))
    if "throws" not in expected:
        return set() if same(from_js(expected["output"]), output) else None
    empty = not body.strip() and not spec.traits.read_only
    return {"empty_success"} if empty and not any(output.values()) else None


def _body(case: Mapping[str, Any]) -> bytes:
    if "body_base64" in case:
        return base64.b64decode(case["body_base64"])
    if "body_text" in case:
        return (case["body_text"] or "").encode("utf-8", "surrogatepass")
    return json.dumps(from_js(case["payload"])).encode()


def _unreadable_reason(spec: ToolSpec, payload: Any) -> Explained:
    """Return why an answer that Sim takes for a success is none for us."""
    properties = spec.answer["properties"]
    wires = {name: item.get("x-from", name) for name, item in properties.items()}
    lists: list[Any] = [payload] if isinstance(payload, list) else []
    if isinstance(payload, dict):
        lists += [payload.get(wire) for wire in wires.values() if wire == "items"]
    if any(not isinstance(item, dict) for items in lists if items for item in items):
        return {"odd_items"}
    if not isinstance(payload, dict):
        return {"not_an_object"}
    if not set(wires.values()) & set(payload):
        return {"nothing_known"}
    if "sessionId" not in wires:
        return None
    found = payload.get("session_id")
    if found is None:
        return None if "sessionId" in spec.properties else {"no_session_id"}
    return None if isinstance(found, str) and found.strip() else {"odd_session_id"}


# -- blocks ----------------------------------------------------------------------------------


def explain_block(app: App, case: Mapping[str, Any]) -> Explained:
    """Return why the block's plan differs from Sim's, in what Sim's tool takes."""
    values = params_of(case["block_params"])
    expected = case["expect"]
    try:
        tool, planned = app.plan_block("devin", values)
    except UnknownName:
        unknown = values.get("operation") not in [*app.registry.block("devin").operations]
        return {"unknown_operation"} if unknown else None
    spec = app.registry.tool(tool)
    takes = [n for n, schema in spec.properties.items() if not schema.get("x-advanced")]
    takes = [n for n in (*takes, *CREDENTIALS) if n not in _borrowed(spec)]
    ours = {n: v for n, v in planned.items() if n in takes and v != ""}
    sim = {n: v for n, v in params_of(expected["params"]).items() if n in takes and v != ""}
    if expected["tool"] != tool:
        return None
    reasons = set()
    for name in takes:
        if name in ours and not same(ours[name], sim.get(name)):
            reason = _kept_reason(app, spec, name, ours[name], values)
            if reason is None:
                return None
            reasons.add(reason)
            sim[name] = ours[name]
    return reasons if same(sim, ours) else None


def _borrowed(spec: ToolSpec) -> tuple[str, ...]:
    """Return parameters that Sim's tool of that name does not have."""
    return ("tags", "playbookId") if spec.id == "devin_list_sessions" else ()


def _kept_reason(
    app: App, spec: ToolSpec, name: str, value: Any, values: Mapping[str, Any]
) -> str | None:
    """Return why a value that Sim drops or converts goes on as it is: the call refuses it."""
    field_name = "terminateArchive" if name == "archive" else name
    if value is not values.get(field_name):
        return None
    try:
        app.build_request(spec.id, {"apiKey": "key", "orgId": "org-1", name: value})
    except InvalidParams as error:
        named = any(problem.startswith(f"{name}:") for problem in error.problems)
        kept = {"limit": "kept_number", "maxAcuLimit": "kept_number", "archive": "kept_archive"}
        return kept.get(name) if named else None
    return None


if __name__ == "__main__":
    sys.exit(main())
