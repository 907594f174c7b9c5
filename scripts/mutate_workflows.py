"""Break workflows in small ways, and hold what the check says against what a run does.

    python scripts/mutate_workflows.py [--count 5000] [--seed N] [--recorded FILE] [--verbose]

Takes the recorded runs of tests/workflow/data, or of a FILE in the form that
scripts/conformance_workflows.py reads, and workflows that it makes up; in each mutant a key or a
value is dropped, misspelt, retyped or set to null. Each mutant is checked, and run on the
simulator without a check. Prints the seed, and exits 1 if

- a mutant without errors fails in a way that the check could have known (`CANNOT_KNOW` lists the
  ways that it cannot; docs/checks.md says them in words), or
- more than 1 % of the mutants that run well are refused. Ceilings, filters and switches whose names
  are misspelt do not count: there the check refuses what would run.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import random
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sim_devin
from sim_devin.app import SIMULATED_CREDENTIALS, App
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.engine.workflow_check import check
from sim_devin.errors import SimDevinError
from sim_devin.runs.services import AppServices
from sim_devin.simulated import SimulatedTransport

RECORDED = Path(__file__).parent.parent / "tests" / "workflow" / "data" / "recorded_runs.json"
ORG = SIMULATED_CREDENTIALS["orgId"]
ENV = {
    "DEVIN_API_KEY": SIMULATED_CREDENTIALS["apiKey"],
    "DEVIN_ORG_ID": ORG,
    "REGION": "eu-west",
    "LIMIT": "3",
}
LONGEST = 10.0  # real seconds of one run
AT_ONCE = 100  # mutants of one app

# How a run may fail although nothing was to be seen before: by name, in the text of the error.
CANNOT_KNOW = {
    "a service answers with an error": r"HTTP \d|status \d|not found|does not exist|Not Found|"
    r"Invalid API key|organization|(?i:no session)|Status: \d|cannot be reached|"
    r"not public|archived",
    "code fails when it runs": r"is not defined|Cannot read|cannot read|is not a function|"
    r"not iterable|TypeError|ReferenceError|RangeError|boom|undefined|ran for|no own property",
    "a reference brings a value of another kind": r"got .*; pass|did not resolve|"
    r"resolution failed|Invalid (boolean|number|JSON)|is required; pass|is blank; pass|"
    r"has no value here|is no number above 0 here|Wait amount|collection is empty|Invalid URL",
    "a model answers otherwise": r"Router could not|routing decision|model",
    "a child that is given when the run starts": r"there is no workflow|failed:",
}


@dataclass
class Tally:
    """What came of the mutants."""

    mutants: int = 0
    well: int = 0
    refused_well: list[str] = field(default_factory=list)
    could_know: list[str] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the check keeps what it promises."""
        return not self.could_know and len(self.refused_well) * 100 <= self.well


@dataclass(frozen=True)
class Case:
    """A workflow and what it is run with."""

    name: str
    document: dict[str, Any]
    inputs: Any = None
    trigger: str = "manual"
    children: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=lambda: ENV)
    ends_well: bool = True  # as it is, in Sim


class Obliging:
    """The simulator, which also knows the sessions that the recorded workflows name."""

    def __init__(self) -> None:
        self._simulated = SimulatedTransport(None)
        self.clock = self._simulated.clock

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the simulator's answer; a session where it knows none."""
        answer: Response = self._simulated.send(request, timeout=timeout)
        if answer.status != 404 or "/sessions/" not in request.url:
            return answer
        name = request.url.partition("/sessions/")[2].partition("/")[0].partition("?")[0]
        body = {"session_id": name, "status": "running", "tags": [], "title": name, "items": []}
        more = {"created_at": 1700000000, "updated_at": 1700000000, "acus_consumed": 0}
        text = json.dumps({**body, **more, "pull_requests": [], "is_archived": False})
        return Response(200, {"content-type": "application/json"}, text.encode())


# -- workflows -----------------------------------------------------------------------------------


def recorded(path: Path) -> list[Case]:
    """Return the recorded runs of a file that have a document which can be read."""
    read = json.loads(re.sub(r"\borg-\w+", ORG, path.read_text("utf-8")))
    cases = [
        Case(
            case["name"],
            case["workflow"] if "workflow" in case else _expanded(case["compact"]),
            case.get("input"),
            case.get("trigger", "manual"),
            case.get("children") or {},
            {**(case.get("env") or {}), **ENV},
            (case.get("expect") or {}).get("success") is True,
        )
        for case in (read if isinstance(read, list) else read["cases"])
    ]
    return [
        case
        for case in cases
        if isinstance(_state(case.document).get("blocks"), dict) and _state(case.document)["blocks"]
    ]


def _state(document: dict[str, Any]) -> dict[str, Any]:
    outer = document.get("data", document)
    state = outer.get("state", outer)
    return state if isinstance(state, dict) else {}


def _expanded(compact: dict[str, Any]) -> dict[str, Any]:
    blocks = [
        _block(block_id, kind, name, values) | (more[0] if more else {})
        for block_id, kind, name, values, *more in compact["blocks"]
    ]
    document = _document(blocks, compact["edges"])
    document["state"]["variables"] = compact.get("variables") or {}
    document["state"] |= {key: compact[key] for key in ("loops", "parallels") if key in compact}
    return document


def _block(block_id: str, kind: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": block_id,
        "type": kind,
        "name": name,
        "position": {"x": 0, "y": 0},
        "subBlocks": {
            key: {"id": key, "type": "short-input", "value": value} for key, value in values.items()
        },
        "outputs": {},
        "enabled": True,
        "data": {},
    }


def _document(blocks: list[dict[str, Any]], edges: list[Any]) -> dict[str, Any]:
    wired = [
        {"id": f"{a}-{handle}-{b}", "source": a, "target": b, "sourceHandle": handle}
        for a, b, handle in edges
    ]
    state = {"blocks": {block["id"]: block for block in blocks}, "edges": wired}
    return {"version": "1.0", "state": {**state, "loops": {}, "parallels": {}, "variables": {}}}


def _kinds() -> list[tuple[str, dict[str, Any]]]:
    """Return block types with values that work; ``%s`` stands for the block before."""
    devin = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": ORG}
    session = {**devin, "sessionId": "<first.sessionId>"}
    create = {**devin, "operation": "create_session", "prompt": "<start.task> please"}
    row = [{"id": "v", "variableName": "v", "type": "number", "value": "4"}]
    form = [{"name": "task", "type": "string"}, {"name": "n", "type": "number", "value": "2"}]
    return [
        ("devin", {**create, "maxAcuLimit": "5", "tags": "a, b", "structuredOutputSchema": "{}"}),
        ("devin", {**create, "playbookId": None, "limit": "50"}),
        ("devin", {**session, "operation": "get_session"}),
        ("devin", {**devin, "operation": "list_sessions", "limit": "20", "filterTags": "a"}),
        ("devin", {**session, "operation": "send_message", "message": "<start.task>"}),
        ("devin", {**session, "operation": "append_session_tags", "tags": "c"}),
        ("devin_wait", {**session, "timeoutSeconds": "600", "until": "settled"}),
        ("function", {"language": "javascript", "code": "return <start.n> + 1"}),
        ("function", {"code": "const t = <start.task>\nreturn { t, n: [1, 2].length }"}),
        ("variables", {"variables": row}),
        ("wait", {"timeValue": "5", "timeUnit": "seconds"}),
        ("response", {"dataMode": "json", "data": '{"id": "<first.sessionId>"}', "status": "200"}),
        ("agent", {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": []}),
        ("agent", {"model": "m", "userPrompt": "hi", "maxTokens": "100", "temperature": 0.2}),
        ("human_in_the_loop", {"inputFormat": form, "builderData": []}),
    ]


def made_up(rng: random.Random, number: int) -> Case:
    """Return a workflow of some blocks one after another, one of them perhaps in a loop."""
    form = [{"name": "task", "type": "string"}, {"name": "n", "type": "number", "value": "1"}]
    start = _block("start", "start_trigger", "Start", {"inputFormat": form})
    first = _block("first", "devin", "First", _kinds()[0][1])
    blocks, edges = [start, first], [("start", "first", "source")]
    last = "first"
    for at in range(rng.randint(1, 5)):
        kind, values = copy.deepcopy(rng.choice(_kinds()))
        block = _block(f"b{at}", kind, f"Block {at}", values)
        into = (last, f"b{at}", "source")
        if rng.random() < 0.2:
            loop = _block(f"l{at}", "loop", f"Loop {at}", {})
            loop["data"] = rng.choice(
                [{"loopType": "for", "count": 2}, {"loopType": "forEach", "collection": "[1, 2]"}]
            )
            block["data"] = {"parentId": f"l{at}", "extent": "parent"}
            blocks.append(loop)
            edges.append((last, f"l{at}", "source"))
            into, last = (f"l{at}", f"b{at}", "loop-start-source"), f"l{at}"
        elif rng.random() < 0.2:
            rows = [
                {"id": f"c{at}-if", "title": "if", "value": "<start.n> > 0"},
                {"id": f"c{at}-else", "title": "else", "value": ""},
            ]
            blocks.append(
                _block(f"c{at}", "condition", f"Check {at}", {"conditions": json.dumps(rows)})
            )
            edges.append((last, f"c{at}", "source"))
            into, last = (f"c{at}", f"b{at}", f"condition-c{at}-if"), f"b{at}"
        else:
            last = f"b{at}"
        blocks.append(block)
        edges.append(into)
    return Case(f"made up {number}", _document(blocks, edges), {"task": "fix it"})


# -- mutants -------------------------------------------------------------------------------------

KEEP = ("id", "position", "source", "target", "targetHandle", "width", "height", "outputs")
VALUES = [0, -3, 7, "abc", "5", True, False, [], {}, ["x"], {"a": 1}, "[1,", "soon", "{{LIMIT}}"]


def mutant(rng: random.Random, case: Case) -> tuple[Case, str]:
    """Return the workflow with one small change, and what was changed."""
    document = copy.deepcopy(case.document)
    places = [place for place in _places(_state(document)) if place[1] not in KEEP]
    holder, key, path = rng.choice(places)
    way = rng.choice(["drop", "misspell", "retype", "null"])
    told = f"{way} {path}"
    if way == "drop":
        del holder[key]
    elif way == "misspell" and isinstance(holder, dict):
        holder[_misspelt(rng, key)] = holder.pop(key)
    elif way == "null":
        holder[key] = None
    else:
        holder[key] = value = copy.deepcopy(rng.choice(VALUES))
        told = f"retype {path} = {json.dumps(value)}"
    return replace(case, document=document), f"{case.name}: {told}"


def _places(state: dict[str, Any]) -> Iterator[tuple[Any, Any, str]]:
    """Yield (holder, key, path) of everything a person writes into a workflow."""
    blocks = state["blocks"]
    for block_id, block in blocks.items() if isinstance(blocks, dict) else ():
        if not isinstance(block, dict):
            continue
        for key in block:
            yield block, key, f"{block_id}.{key}"
        for holder in ("data", "retry"):
            inner = block.get(holder)
            for key in inner if isinstance(inner, dict) else ():
                yield inner, key, f"{block_id}.{holder}.{key}"
        fields = block.get("subBlocks")
        for key, sub_block in fields.items() if isinstance(fields, dict) else ():
            yield fields, key, f"{block_id}.{key}"
            if isinstance(sub_block, dict):
                yield from ((sub_block, name, f"{block_id}.{key}.{name}") for name in sub_block)
                value = sub_block.get("value")
                for at, row in enumerate(value if isinstance(value, list) else ()):
                    for name in row if isinstance(row, dict) else ():
                        yield row, name, f"{block_id}.{key}[{at}].{name}"
    edges = state.get("edges")
    for edge in edges if isinstance(edges, list) else ():
        for key in edge if isinstance(edge, dict) else ():
            yield edge, key, f"edge {edge.get('id')}.{key}"


def _misspelt(rng: random.Random, name: str) -> str:
    at = rng.randrange(len(name)) if name else 0
    return rng.choice([name[:at] + name[at + 1 :], name + name[-1:], name.swapcase()]) or "x"


# -- what comes of them --------------------------------------------------------------------------


def judge(app: App, case: Case, told: str, tally: Tally) -> None:
    """Check and run one mutant."""
    tally.mutants += 1
    try:
        found = check(case.document, AppServices(app), env=case.env, kind=case.trigger)
    except SimDevinError as error:
        tally.could_know.append(f"{told}: the check itself failed: {error}")
        return
    errors = [problem for problem in found if problem.level == "error"]
    tally.refused += bool(errors)
    ended, why, block = outcome(app, case)
    if ended == "well":
        tally.well += 1
        if any(not problem.widens for problem in errors):
            tally.refused_well.append(f"{told}: {errors[0]}")
    elif ended == "failed" and not errors and all(item.block_id != block for item in found):
        known = next((name for name, text in CANNOT_KNOW.items() if re.search(text, why)), None)
        if known is None:
            tally.could_know.append(f"{told}: {why}")
        else:
            tally.unknown[known] += 1


def outcome(app: App, case: Case) -> tuple[str, str, str | None]:
    """Run a mutant as Sim would; return how it ended, and why and in which block it failed.

    It ends ``well`` or ``failed``, or neither, where it waits for a person or had to be stopped.
    """
    cancel = threading.Event()
    timer = threading.Timer(LONGEST, cancel.set)
    timer.start()
    try:
        result = app.run(
            case.document,
            case.inputs,
            env=case.env,
            trigger=case.trigger,
            children=case.children,
            cancel=cancel,
        )
    except SimDevinError as error:
        return "failed", f"refused: {error}", None
    finally:
        timer.cancel()
    if result.status in ("paused", "cancelled"):
        return "neither", "", None
    return "well" if result.success else "failed", str(result.error), result.failed_block


def run(cases: list[Case], count: int, seed: int) -> Tally:
    """Return what came of so many mutants: half of recorded workflows, half of made-up ones."""
    rng, tally = random.Random(seed), Tally()
    while tally.mutants < count:
        obliging = Obliging()
        with sim_devin.open_app(
            simulate=True,
            transport=obliging,
            clock=obliging.clock,
            discover=False,
            store="memory",
            retries=0,
            env={"SIM_DEVIN_CONFIG": "/dev/null"},
        ) as app:
            for _ in range(min(AT_ONCE, count - tally.mutants)):
                chosen = rng.choice(cases) if rng.random() < 0.5 else made_up(rng, tally.mutants)
                judge(app, *mutant(rng, chosen), tally)
    return tally


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--verbose", action="store_true", help="also show what is refused and runs")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(f"seed {options.seed}")
    tally = run(recorded(options.recorded), options.count, options.seed)
    for line in tally.could_know:
        print(f"could have been known: {line[:400]}")
    if options.verbose or not tally.is_good:
        for line in tally.refused_well:
            print(f"refused, and runs well: {line[:400]}")
    print(
        f"{tally.mutants} mutants: {tally.well} run well, {len(tally.refused_well)} of them are "
        f"refused; {tally.refused} refused in all; {len(tally.could_know)} could have been known"
    )
    for name, number in tally.unknown.most_common():
        print(f"  {number:5} {name}")
    return 0 if tally.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
