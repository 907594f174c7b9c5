"""Replay recorded runs of Sim's own executor and say where we agree.

    python scripts/conformance_workflows.py PATH [NAME…]

PATH is a file of recorded runs. Prints agreement by group and each difference with its
reason from docs/compatibility-workflows.json; exits 1 if a difference has none, or if a
documented one is no longer there. A reason whose name ends with * is that of all cases whose
names begin so; some of them may agree.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import sim_devin
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.engine import dag
from sim_devin.engine.document import load_workflow
from sim_devin.engine.program import Program
from sim_devin.errors import NotSent, SimDevinError
from sim_devin.runs.services import AppServices

REASONS = Path(__file__).parent.parent / "docs" / "compatibility-workflows.json"
UNKNOWN_RUN = re.compile(r"^(<ts>|<uuid>)$")
# Keys whose values name a host, a run or a moment of the recording.
PASSING = {
    "_childWorkflowInstanceId",
    "_pauseDurationMs",
    "_pauseMetadata",
    "_resume",
    "_resumedFrom",
    "childWorkflowSnapshotId",
    "pausePoints",
    "registeredAt",
    "resume",
    "resumeAt",
    "resumeEndpoint",
    "submittedAt",
    "url",
}


class Replay:
    """A transport that answers from the recording, then from the case's rules."""

    def __init__(self, case: Mapping[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._recorded: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for call in recorded_http(case):
            self._recorded[key(call["method"], call["url"], call.get("body"))].append(call)
        self._rules = [dict(rule) for rule in case["tool_stub"].get("rules", [])]
        self._used = [0] * len(self._rules)

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the recorded answer, in the order recorded."""
        del timeout
        found = key(request.method, request.url, request.json)
        with self._lock:
            rule = self._rule(request)
            waiting = self._recorded.get(found)
            recorded = waiting.pop(0) if waiting else None
        if rule is not None and rule.get("delay_ms"):
            time.sleep(rule["delay_ms"] / 1000)
        with self._lock:
            if recorded is not None or rule is None or "throw" not in rule:
                self.sent.append(
                    {"method": request.method, "url": request.url, "body": request.json}
                )
        if recorded is not None:
            if recorded.get("status") is None:
                raise NotSent(str(recorded.get("error") or "the connection was refused"))
            return answer(recorded["status"], recorded.get("response"))
        if rule is not None:
            if "throw" in rule:
                raise NotSent(str(rule["throw"]))
            body = rule["text"] if "text" in rule else rule.get("json")
            return answer(rule.get("status", 200), body)
        return answer(200, made_up(request))

    def _rule(self, request: Request) -> Mapping[str, Any] | None:
        body = json.dumps(request.json)
        for index, rule in enumerate(self._rules):
            if rule.get("method", request.method) != request.method:
                continue
            if "path" in rule and not re.search(rule["path"], request.url):
                continue
            if rule.get("bodyIncludes", "") not in body:
                continue
            if self._used[index] >= rule.get("times", 10**9):
                continue
            self._used[index] += 1
            responses = rule.get("responses")
            if responses:
                at = min(self._used[index], len(responses)) - 1
                return {**rule, **responses[at]}
            return rule
        return None


def answer(status: int, body: Any) -> Response:
    """Return an answer with a JSON or text body."""
    if isinstance(body, str):
        return Response(status, {"content-type": "text/plain"}, body.encode())
    payload = b"" if body is None else json.dumps(body).encode()
    return Response(status, {"content-type": "application/json"}, payload)


def made_up(request: Request) -> dict[str, Any]:
    """Return a session, for a request that the recorded run never made."""
    asked = request.json or {}
    prompt = str(asked.get("prompt", request.url.rpartition("/")[2]))
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40]
    return {
        "session_id": f"devin-{slug}",
        "status": "new",
        "title": prompt,
        "created_at": 1700000000,
        "updated_at": 1700000000,
        "acus_consumed": 0,
        "tags": asked.get("tags", []),
        "pull_requests": [],
        "is_archived": False,
    }


def recorded_http(case: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Yield every recorded request of a case, also of what came before a pause."""
    expect = case["expect"]
    steps = [step.get("after") or {} for step in expect.get("resumeSteps") or ()]
    for run in (expect.get("firstRun") or {}, expect.get("beforeResume") or {}, *steps, expect):
        for call in run.get("toolCalls", []):
            yield from call.get("http", [])


def key(method: str, url: str, body: Any) -> str:
    """Return what tells requests apart."""
    return json.dumps([method, url, body], sort_keys=True)


class StubModel:
    """A language model that gives the recorded replies in order."""

    def __init__(self, replies: Iterable[Mapping[str, Any]]) -> None:
        self._replies = list(replies)

    def complete(self, messages: Any, **options: Any) -> Mapping[str, Any]:
        """Return the next reply."""
        del messages, options
        return self._replies.pop(0)


def play(case: Mapping[str, Any]) -> tuple[Any, Replay]:
    """Return the result of the case in this engine, or the error it was refused with."""
    replay = Replay(case)
    app = sim_devin.open_app(
        transport=replay,
        llm=StubModel(case.get("llm_stub", [])),
        retries=0,
        discover=False,
        env={},
    )
    cancel, options = threading.Event(), {}
    if "abortAfterMs" in case:
        seconds = case["abortAfterMs"] / 1000
        if case.get("abortReason") == "timeout":
            options["deadline"] = seconds
        else:
            timer = threading.Timer(seconds, cancel.set)
            timer.daemon = True
            timer.start()
    try:
        snapshot = None
        if "runFromBlock" in case and case["expect"].get("firstRun"):
            snapshot = app.run(
                case["workflow"],
                case["input"],
                env=case["env"],
                trigger=case["trigger"],
            ).snapshot
            replay.sent.clear()
        result = app.run(
            case["workflow"],
            case["input"],
            env=case["env"],
            trigger=case["trigger"],
            run_id="exec-1",
            children=case.get("children"),
            from_block=case.get("runFromBlock"),
            snapshot=snapshot,
            stop_after=case.get("stopAfterBlockId"),
            cancel=cancel,
            **options,
        )
        for step in case.get("resumes", []):
            replay.sent.clear()  # the recording counts from the last answer on
            result = app.resume(result, step.get("input"))
    except SimDevinError as error:
        return error, replay
    return result, replay


def differences(case: Mapping[str, Any], result: Any, replay: Replay) -> list[str]:
    """Return what differs from the recording, as ``aspect: ours, recorded``."""
    expect = case["expect"]
    refused = isinstance(result, SimDevinError)
    recorded_refusal = any(
        expect.get(name) for name in ("importErrors", "thrownBeforeRun", "dagError")
    ) or ("success" not in expect and "thrown" in expect)
    if refused or recorded_refusal:
        if refused and recorded_refusal:
            return []
        return [f"refused: {refused} ({result if refused else ''}), recorded {recorded_refusal}"]
    found: list[str] = []
    wiring = dag.rows(program(case).graph)

    def compare(aspect: str, ours: Any, recorded: Any) -> None:
        if ours != recorded:
            found.append(f"{aspect}: {short(ours)}, recorded {short(recorded)}")

    compare("graph", *graphs(wiring, expect["dag"]))
    compare("success", result.success, expect["success"])
    compare("status", result.status, expect.get("status"))
    compare("output", plain(result.output), plain(expect["output"]))
    compare("failed", failed(result), (expect.get("thrown") or {}).get("blockId"))
    compare(
        "ran",
        ran(log.block_id for log in result.logs),
        ran(log["blockId"] for log in expect["blockLogs"]),
    )
    recorded_outputs = plain(expect["blockOutputs"])
    ours = plain(json.loads(json.dumps(result.block_outputs)))
    for name in sorted({*ours, *recorded_outputs}):
        compare(f"output of {name}", ours.get(name), recorded_outputs.get(name))
    compare(
        "requests",
        calls(replay.sent),
        calls(http for call in expect["toolCalls"] for http in call.get("http", [])),
    )
    compare("variables", plain(result.variables), plain(expect["workflowVariables"]))
    return found


def program(case: Mapping[str, Any]) -> Program:
    """Return the case's workflow compiled, for its graph."""
    app = sim_devin.open_app(discover=False, env={})
    return Program(
        load_workflow(case["workflow"]),
        AppServices(app),
        kind=case["trigger"],
        everything="runFromBlock" in case,
    )


def graphs(ours: Iterable[dag.Row], recorded: Iterable[Mapping[str, Any]]) -> tuple[Any, Any]:
    """Return both graphs in one form. A container with nothing inside has no ends in ours."""
    theirs = {
        row["id"]: (sorted(row["in"]), sorted((tuple(out) for out in row["out"]), key=str))
        for row in recorded
    }
    return {name: (before, after) for name, before, after in ours if name in theirs}, theirs


def failed(result: Any) -> str | None:
    """Return the failed block, except for a container's, which the recordings do not name."""
    block = next((log for log in result.logs if log.block_id == result.failed_block), None)
    return None if block is None or block.block_type in ("loop", "parallel") else block.block_id


def ran(ids: Iterable[str]) -> list[str]:
    """Return ids in one order: that of blocks in flight together is nobody's business."""
    return sorted(ids)


def calls(requests: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return requests in one order."""
    return sorted(key(item["method"], item["url"], item.get("body")) for item in requests)


def plain(value: Any) -> Any:
    """Return data without what changes from one recording to the next; 1.0 is 1."""
    if isinstance(value, Mapping):
        return {
            name: "<text>" if name == "error" and isinstance(item, str) else plain(item)
            for name, item in value.items()
            if name not in PASSING and not (isinstance(item, Mapping) and "$js" in item)
        }
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def short(value: Any) -> str:
    """Return a value as a line to print."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 300 else f"{text[:300]}…"


def main() -> int:
    """Run the cases and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("names", nargs="*", help="only these cases")
    options = parser.parse_args()
    cases = json.loads(options.path.read_text())
    reasons = json.loads(REASONS.read_text()) if REASONS.exists() else {}
    chosen = [case for case in cases if not options.names or case["name"] in options.names]
    groups: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    undocumented = 0
    for case in chosen:
        result, replay = play(case)
        found = differences(case, result, replay)
        groups[case["group"]][0] += not found
        groups[case["group"]][1] += 1
        reason = reasons.get(case["name"])
        if found and reason is None:
            families = (name for name in reasons if name.endswith("*"))
            reason = next(
                (reasons[name] for name in families if case["name"].startswith(name[:-1])), None
            )
        if found:
            undocumented += reason is None
            print(f"{'UNDOCUMENTED' if reason is None else 'differs'} {case['name']}")
            print(f"    why: {reason}") if reason else None
            for line in found:
                print(f"    {line}")
        elif reason:
            undocumented += 1
            print(f"AGREES NOW {case['name']}: remove its reason")
    print()
    for group, (agree, total) in groups.items():
        print(f"{group:16} {agree:4} of {total}")
    agree = sum(count for count, _ in groups.values())
    print(f"{'all':16} {agree:4} of {len(chosen)}")
    return 1 if undocumented else 0


if __name__ == "__main__":
    sys.exit(main())
