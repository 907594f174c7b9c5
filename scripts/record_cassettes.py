"""Record the cassettes anew.

Usage: python scripts/record_cassettes.py [--live]. Without options the service is
sim_devin's own simulator, on this machine, and every file says so. With --live, and
DEVIN_API_KEY and DEVIN_ORG_ID set, the cases that do no harm are recorded from the real
service (DEVIN_BASE_URL, if set) into a temporary folder, scrubbed, and compared: how the
real answers differ in shape from the committed ones is printed, and the committed ones stay
as they are. One session is created for that, capped at one ACU, and terminated.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from cassette_cases import CASES, KEY, NOW, ORG, SESSION, Case, Step
from cassette_tapes import FOLDER, HOST, Tapes

import sim_devin
from sim_devin.calls.request import VERSION
from sim_devin.clock import Clock, ManualClock
from sim_devin.simulator import Simulator, Switches
from sim_devin.simulator.server import serve

SEED = 20
ORIGIN = f"Recorded against sim_devin's simulator {VERSION}; not a recording of the real service."


def main(arguments: Sequence[str] | None = None) -> int:
    """Record; return 1 when a live recording shows drift, or cannot be made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--live", action="store_true", help="compare with the real service")
    parser.add_argument("--folder", type=Path, help="where to record to")
    options = parser.parse_args(arguments)
    if options.live:
        return record_live(options.folder or Path(tempfile.mkdtemp(prefix="cassettes-")))
    record_simulated(options.folder or FOLDER)
    return 0


# -- from the simulator -------------------------------------------------------------------------


def record_simulated(folder: Path) -> None:
    """Record every case from the simulator, and remove cassettes of no case."""
    server = OneAfterTheOther()
    with serve(server) as url:
        tapes = Tapes(folder, base_url=url, origin=ORIGIN)
        for case in CASES:
            server.simulator, clock = stage(case)
            with tapes.record(case.path), open_app(case, clock, base_url=url) as app:
                perform(case, app, clock)
    known = {folder / case.path for case in CASES}
    for path in folder.rglob("*.yaml"):
        if path not in known:
            path.unlink()


class OneAfterTheOther(Simulator):
    """Stands before a simulator of its own for each case, so that one server does for all."""

    simulator: Simulator

    def handle(self, *arguments: Any, **options: Any) -> Any:
        """Answer as the simulator of the present case."""
        return self.simulator.handle(*arguments, **options)


def stage(case: Case) -> tuple[Simulator, ManualClock]:
    """Return the simulator a case is recorded from, and its clock, which stands still."""
    clock = ManualClock(NOW)
    simulator = Simulator(
        clock=clock,
        switches=Switches(**case.switches),
        faults=case.faults,
        keys=case.keys,
        seed=SEED,
    )
    if case.session is not None:
        fields: dict[str, Any] = {
            "title": "Fix the bug",
            "tags": ["nightly"],
            "repos": ("acme/web",),
            "created_at": NOW - 600,
            "structured_output_schema": {"properties": {"ok": {"const": True}}, "required": ["ok"]},
            **case.session,
        }
        another = fields.pop("another", False)
        simulator.add_session(ORG, "Fix the bug in acme/web.", session_id=SESSION, **fields)
        if another:
            simulator.add_session(ORG, "Write the docs.", created_at=NOW - 60)
    return simulator, clock


def open_app(case: Case, clock: Clock, **options: Any) -> sim_devin.App:
    """Return an app as cases are recorded and played with: the defaults, and the wire."""
    credentials = {"apiKey": KEY, "orgId": case.org, **options.pop("credentials", {})}
    # Pauses between tries are random; recordings are to be the same each time.
    random.seed(case.path)
    return sim_devin.open_app(
        clock=clock, env={}, discover=False, credentials=credentials, **options
    )


def perform(case: Case, app: sim_devin.App, clock: ManualClock) -> list[Any]:
    """Make the calls of a case; return the output or the error of each, and its seconds."""
    outcomes: list[Any] = []
    for step in case.steps:
        clock.advance(step.later)
        started = clock.time()
        outcome = call(step, app)
        outcomes.append((outcome, clock.time() - started))
    return outcomes


def call(step: Step, app: sim_devin.App) -> dict[str, Any] | sim_devin.SimDevinError:
    """Make the call of a step; return its output or its error."""
    try:
        return app.call(step.tool, step.params)
    except sim_devin.SimDevinError as error:
        return error


# -- from the real service ----------------------------------------------------------------------


def record_live(folder: Path) -> int:
    """Record the harmless cases from the service of the environment; print the drift."""
    key, org = os.environ.get("DEVIN_API_KEY", ""), os.environ.get("DEVIN_ORG_ID", "")
    base_url = os.environ.get("DEVIN_BASE_URL") or f"{HOST}/v3"
    if not key or not org:
        print("--live needs DEVIN_API_KEY and DEVIN_ORG_ID")
        return 1
    names = {key: KEY, org: ORG}
    tapes = Tapes(
        folder,
        base_url=base_url,
        origin="Recorded from a live service and scrubbed; for comparison only.",
        names=names,
    )
    drift: list[str] = []
    session_id = ""
    for case in (case for case in CASES if case.live):
        credentials = {
            "apiKey": "no-key" if case.name == "unauthorised" else key,
            "orgId": org if case.org == ORG else case.org,
        }
        with (
            tapes.record(case.path),
            sim_devin.open_app(
                env={}, discover=False, base_url=base_url, credentials=credentials
            ) as app,
        ):
            for step in case.steps:
                outcome = call(_about(step, session_id), app)
                if (case.folder, case.name) == ("create_session", "success"):
                    if isinstance(outcome, sim_devin.SimDevinError):
                        print(f"no session could be created: {outcome}")
                        return 1
                    session_id = outcome["sessionId"].removeprefix("devin-")
                    names[session_id] = SESSION
                    tapes.names = names
        drift += [
            f"{case.path}: {line}" for line in compare(FOLDER / case.path, folder / case.path)
        ]
    print(*(drift or ["no drift"]), f"The recordings are in {folder}", sep="\n")
    return 1 if drift else 0


def _about(step: Step, session_id: str) -> Step:
    """Return the step for the session that was created, in place of the recorded one."""
    if step.params.get("sessionId") != SESSION:
        return step
    return replace(step, params={**step.params, "sessionId": session_id})


def compare(committed: Path, fresh: Path) -> Iterator[str]:
    """Yield how the last answer of a fresh cassette differs in shape from the committed one."""
    old, new = _last_answer(committed), _last_answer(fresh)
    if old["status"]["code"] != new["status"]["code"]:
        yield f"status {old['status']['code']} is {new['status']['code']}"
        return
    known, found = _shape(old), _shape(new)
    # What stands in a list or an object that is empty or null here is neither new nor missing.
    for place in sorted(found.keys() - known.keys()):
        if "object" in known.get(_parent(place), ()) and not place.endswith("[]"):
            yield f"new field {place} ({', '.join(sorted(found[place]))})"
    for place in sorted(known.keys() - found.keys()):
        if "object" in found.get(_parent(place), ()) and not place.endswith("[]"):
            yield f"missing field {place}"
    for place in sorted(known.keys() & found.keys()):
        # Anything may be null at times; that is no drift.
        was, now = known[place] - {"null"}, found[place] - {"null"}
        if was and now and not now <= was:
            where = place or "the body"
            yield f"type of {where}: {', '.join(sorted(was))} is {', '.join(sorted(now))}"


def _parent(place: str) -> str:
    """Return the place that `place` is in: ``a[]`` for ``a[].b``, ``""`` for ``a``."""
    return place.rpartition(".")[0]


def _last_answer(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    answer: dict[str, Any] = document["interactions"][-1]["response"]
    return answer


def _shape(answer: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return the places in a JSON answer and the types that stand there."""
    try:
        payload = json.loads(answer["body"]["string"])
    except ValueError:
        return {"": {"no JSON"}}
    places: dict[str, set[str]] = {}

    def visit(value: Any, place: str) -> None:
        places.setdefault(place, set()).add(_kind(value))
        if isinstance(value, dict):
            for name, item in value.items():
                visit(item, f"{place}.{name}".lstrip("."))
        elif isinstance(value, list):
            for item in value:
                visit(item, f"{place}[]")

    visit(payload, "")
    return places


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    kinds = {dict: "object", list: "array", str: "string"}
    return kinds.get(type(value), "null")


if __name__ == "__main__":
    sys.exit(main())
