"""Runs of Sim's own executor, recorded: what ran, what was sent and what came out must agree."""

import json
import re
import threading
from collections import defaultdict
from pathlib import Path

import pytest

import sim_devin
from sim_devin.calls.response import Response
from sim_devin.errors import CallerError, NotSent
from workflow.fakes import block, document, edge

pytest.importorskip("quickjs", reason="conditions and functions need the extra [js]")

RECORDED = json.loads((Path(__file__).parent / "data" / "recorded_runs.json").read_text("utf-8"))
BASE = "https://api.devin.ai/v3/organizations/"
# Values of the recording that name its host, its run or a moment.
PASSING = {
    *("_childWorkflowInstanceId", "_pauseDurationMs", "_pauseMetadata", "_resume"),
    *("_resumedFrom", "childWorkflowSnapshotId", "resume", "resumeAt", "resumeEndpoint"),
    *("submittedAt", "url"),
}


class Replay:
    """Answers a request as the recording did; by the case's rules where it has some."""

    def __init__(self, case):
        self.case = case
        self.lock = threading.Lock()
        self.waiting = defaultdict(list)
        for method, url, body, status, answer in case["http"]:
            full = url if url.startswith("http") else BASE + url
            self.waiting[key(method, full, body)].append((status, RECORDED["answers"][answer]))
        self.throws = [rule for rule in case.get("rules", ()) if "throw" in rule]

    def send(self, request, *, timeout):
        with self.lock:
            left = self.waiting[key(request.method, request.url, request.json)]
            if not left and self.throws:
                raise NotSent(self.throws[0]["throw"])
            status, body = left.pop(0) if left else (200, self.created(request))
        if isinstance(body, str):
            return Response(status, {"content-type": "text/plain"}, body.encode())
        payload = b"" if body is None else json.dumps(body).encode()
        return Response(status, {"content-type": "application/json"}, payload)

    def created(self, request):
        """Return a new session: recordings of a paused run leave out what came before it."""
        assert self.case.get("resumes"), f"was never sent: {request.method} {request.url}"
        return {"session_id": "devin-job", "status": "new", "title": request.json["prompt"]}

    def never_sent(self):
        return {sent: left for sent, left in self.waiting.items() if left}


def key(method, url, body):
    return method, url, json.dumps(body, sort_keys=True)


class Model:
    def __init__(self, replies):
        self.replies = list(replies)

    def complete(self, messages, *, model, tools, response_format):
        return self.replies.pop(0)


def workflow(case):
    if "workflow" in case:
        return case["workflow"]
    compact = case["compact"]
    blocks = []
    for block_id, kind, name, values, *extra in compact["blocks"]:
        made = block(block_id, kind, name) | (extra[0] if extra else {})
        made["subBlocks"] = {
            name: {"id": name, "type": "short-input", "value": value}
            for name, value in values.items()
        }
        blocks.append(made)
    edges = [edge(source, target, handle) for source, target, handle in compact["edges"]]
    made = document(blocks, edges, variables=compact.get("variables"))
    made["state"] |= {key: compact[key] for key in ("loops", "parallels") if key in compact}
    return made


def plain(value):
    if isinstance(value, dict):
        return {
            key: "<text>" if key == "error" and isinstance(item, str) else plain(item)
            for key, item in value.items()
            if key not in PASSING
        }
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def failed_block(result):
    """Return the failed block; the recordings do not name a container."""
    found = next((log for log in result.logs if log.block_id == result.failed_block), None)
    return None if found is None or found.block_type in ("loop", "parallel") else found.block_id


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["name"])
def test_run_agrees_with_the_recording(case):
    replay = Replay(case)
    app = sim_devin.open_app(
        transport=replay, llm=Model(case.get("llm_stub", ())), retries=0, discover=False, env={}
    )

    def run():
        result = app.run(
            workflow(case),
            case.get("input", {}),
            env=case.get("env", {"DEVIN_API_KEY": "cog_test"}),
            trigger=case.get("trigger", "manual"),
            children=case.get("children"),
            from_block=case.get("runFromBlock"),
            stop_after=case.get("stopAfterBlockId"),
        )
        for step in case.get("resumes", ()):
            assert result.status == "paused"
            result = app.resume(result, step.get("input"))
        return result

    if case.get("refused"):
        with pytest.raises(CallerError):
            run()
        return
    result, expect = run(), case["expect"]
    assert result.success == expect["success"], result.error
    assert result.status == expect["status"]
    assert plain(result.output) == expect["output"]
    assert failed_block(result) == expect["failed"]
    assert sorted(log.block_id for log in result.logs) == expect["ran"]
    assert replay.never_sent() == {}
    assert json.loads(json.dumps(result.snapshot)) == result.snapshot


def test_recorded_keys_are_made_up():
    assert not re.search(r"cog_[A-Za-z0-9]{24,}", json.dumps(RECORDED))
