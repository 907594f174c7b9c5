"""One account of a day: every way to start a session draws from it, and none can pass it."""

import json
import subprocess
import sys
import threading

import pytest

from sim_devin.client import Devin
from sim_devin.clock import RealClock
from sim_devin.errors import NotAllowed, SimDevinError
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import Policy
from sim_devin.simulator import Simulator, server
from sim_devin.simulator.access import Key
from sim_devin.simulator.faults import Fault
from sim_devin.store.sql_store import open_store
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow

CREATE = "devin_create_session"
KEY = "cog_made_up_key"


def caps(simulator):
    bodies = [json.loads(e.body) for e in simulator.log if e.path.endswith("/sessions") and e.body]
    return [body.get("max_acu_limit") for body in bodies]


def create(cap, id="create"):
    return devin(id, "create_session", prompt="p", maxAcuLimit=str(cap))


class Calls:
    """A model that calls the one tool it has once."""

    def complete(self, messages, *, model, tools, response_format):
        if any(message["role"] == "tool" for message in messages):
            return {"content": "done"}
        arguments = {"prompt": "p", "maxAcuLimit": 3}
        return {"content": "", "toolCalls": [{"name": CREATE, "arguments": arguments}]}


def by_call(app):
    app.call(CREATE, {"prompt": "p", "maxAcuLimit": 3})


def by_function(app):
    answer = app.call_function(CREATE, {"prompt": "p", "maxAcuLimit": 3})
    if answer.error:
        raise answer.error


def by_client(app):
    Devin(app=app).create_session("p", max_acu_limit=3)


def by_run(app):
    result = app.run(flow(create(3)), env=ENV)
    if not result.success:
        raise NotAllowed(result.error)


def by_agent(app):
    tools = [{"type": "devin", "operation": "create_session", "params": {}}]
    result = app.run(flow(block("agent", "agent", model="m", tools=tools)), env=ENV)
    (call,) = result.logs[-1].output["toolCalls"]["list"]
    if not call["success"]:
        raise NotAllowed(call["result"]["message"])


def by_durable_run(app):
    run_id = app.runs.start(flow(create(3)), env=ENV)
    app.runs.follow(run_id)
    run = app.runs.show(run_id)
    if run["state"] != "done":
        raise NotAllowed(run["error"])


WAYS = [by_call, by_function, by_client, by_run, by_agent, by_durable_run]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_start_a_session_draws_from_the_day_in_acus(open_app, simulator, way):
    env = {**ENV, "SIM_DEVIN_MAX_ACU_DAY": "10"}
    by_durable_run(open_app(env=env))
    by_call(open_app(env=env))  # another process
    app = open_app(env=env, llm=Calls())
    way(app)
    app.clock.advance(1)
    assert caps(simulator) == [3, 3, 3]
    with pytest.raises(NotAllowed, match="ceiling"):
        app.call(CREATE, {"prompt": "p"}, ceilings={"maxAcuLimit": 2}) and way(app)
    assert sum(caps(simulator)) == 10
    app.clock.advance(86_400)
    way(app)
    assert caps(simulator)[-1] == 3


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_start_a_session_counts_it(open_app, simulator, way):
    policy = Policy(sessions_per_day=2)
    by_durable_run(open_app(policy=policy))
    app = open_app(policy=policy, llm=Calls())
    way(app)
    with pytest.raises(NotAllowed, match="2 sessions"):
        way(app)
    assert simulator.counts["sessions_created"] == 2
    app.clock.advance(86_400)
    way(app)
    assert simulator.counts["sessions_created"] == 3


@pytest.mark.parametrize("way", [by_call, by_function, by_run, by_durable_run])
def test_what_was_surely_not_created_is_given_back(open_app, simulator, way):
    app = open_app(policy=Policy(sessions_per_day=1, acu_per_day=3))
    simulator.faults.add(Fault("status", status=404, method="POST"))
    with pytest.raises(SimDevinError):
        way(app)
    way(app)
    assert simulator.counts["sessions_created"] == 1


def test_a_gate_of_ones_own_does_not_lead_past_the_day(open_app, simulator):
    app = open_app(policy=Policy(sessions_per_day=2))
    for gate in (Gate(Policy()), Gate(Policy(sessions_per_day=9)), None):
        app.call_function(CREATE, {"prompt": "p"}, gate=gate)
        app.run(flow(create(3)), env=ENV, gate=gate)
    assert simulator.counts["sessions_created"] == 2


def test_without_a_store_the_account_is_the_apps_own(transport, open_app, simulator):
    app = open_app(store="memory", policy=Policy(acu_per_day=5))
    by_function(app)
    by_run(app)  # gets the two that are left
    with pytest.raises(NotAllowed):
        by_durable_run(app)
    assert caps(simulator) == [3, 2]
    by_call(open_app(store="memory", policy=Policy(acu_per_day=5)))


def test_pruning_runs_gives_nothing_of_the_day_back(open_app, store):
    app = open_app(policy=Policy(sessions_per_day=1))
    by_durable_run(app)
    app.runs.prune(app.clock.time() + 1)
    with pytest.raises(NotAllowed):
        by_call(app)


# -- at once -----------------------------------------------------------------------------------


def test_two_workers_at_once_cannot_pass_the_day(open_app, store, simulator, monkeypatch):
    """Both have worked out that there is enough left before either records what it takes."""
    from sim_devin.runs import calls as durable_calls

    together, worked_out = threading.Barrier(2), durable_calls.share_of_day

    def slowly(*arguments):
        shares = worked_out(*arguments)
        together.wait(10)
        return shares

    monkeypatch.setattr(durable_calls, "share_of_day", slowly)
    env = {**ENV, "SIM_DEVIN_MAX_ACU_DAY": "10"}
    apps = [open_app(env=env), open_app(env=env)]
    runs = [app.runs.start(flow(create(8)), env=ENV) for app in apps]
    threads = [
        threading.Thread(target=app.runs.follow, args=(run_id,))
        for app, run_id in zip(apps, runs, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = sorted(store.run(run_id).state for run_id in runs)
    assert states == ["done", "failed"]
    assert caps(simulator) == [8]


WORKER = """
import sys
import sim_devin
from sim_devin.errors import NotAllowed
from sim_devin.policy.rules import Policy

url, place, way = sys.argv[1:]
flow = {
    "blocks": {
        name: {"id": name, "type": kind, "name": name, "enabled": True, "outputs": {},
               "position": {"x": 0, "y": 0},
               "subBlocks": {k: {"id": k, "type": "short-input", "value": v}
                             for k, v in values.items()}}
        for name, kind, values in (
            ("start", "start_trigger", {}),
            ("create", "devin", {"operation": "create_session", "prompt": "p",
                                 "maxAcuLimit": "3", "apiKey": "KEY", "orgId": "org-test"}),
        )
    },
    "edges": [{"id": "e", "source": "start", "target": "create", "sourceHandle": "source",
               "targetHandle": "target"}],
    "loops": {}, "parallels": {},
}
flow["blocks"]["create"]["subBlocks"]["apiKey"]["value"] = "{{DEVIN_API_KEY}}"
app = sim_devin.open_app(
    base_url=url, store=place, discover=False, policy=Policy(acu_per_day=20, sessions_per_day=6),
    credentials={"apiKey": "cog_made_up_key", "orgId": "org-test"},
)
app.runs.list()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(6):
    try:
        if way == "call":
            app.call("devin_create_session", {"prompt": "p", "maxAcuLimit": 3}, reconcile=True)
        else:
            app.runs.follow(app.runs.start(flow))
    except NotAllowed:
        pass
"""


@pytest.mark.parametrize("kind", ["file", "postgres"])
def test_processes_at_once_cannot_pass_the_day(kind, request, tmp_path):
    """Real processes and real connections: runs in one, calls outside of runs in the other."""
    place = tmp_path / "runs.sqlite" if kind == "file" else request.getfixturevalue("postgres")
    simulator = Simulator(keys={KEY: Key("org-test")})
    with server.serve(simulator) as url:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, url, str(place), way],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for way in ("run", "call", "run")
        ]
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            worker.communicate(timeout=120)
            assert worker.returncode == 0
    sent = caps(simulator)
    assert len(sent) == 6
    assert sum(sent) <= 20


# -- the day -----------------------------------------------------------------------------------


class Ahead(RealClock):
    """The clock of a machine that is a day ahead."""

    def time(self):
        return super().time() + 86_400


def test_the_day_is_that_of_the_database(store, transport):
    import sim_devin

    for clock in (RealClock(), Ahead(), RealClock()):
        app = sim_devin.open_app(
            store=store,
            transport=transport,
            clock=clock,
            discover=False,
            env=ENV,
            credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
            policy=Policy(sessions_per_day=3),
        )
        by_call(app)
    with pytest.raises(NotAllowed):
        by_call(app)
    with pytest.raises(NotAllowed):
        by_durable_run(app)


def test_a_store_of_the_first_version_goes_on(tmp_path):
    """What its runs have taken off the day and of their own ceilings still counts."""
    import sqlite3

    from sim_devin.store import schema

    file = tmp_path / "runs.sqlite"
    with sqlite3.connect(file) as old:
        for script in schema.MIGRATIONS[:6]:
            old.executescript(script)
        old.execute("PRAGMA user_version = 6")
        old.execute("INSERT INTO documents VALUES ('d', '{}')")
        old.execute(
            "INSERT INTO runs (id, state, name, document, children, options, created, updated, "
            "fence, lease_until, cancelling) VALUES ('r', 'done', 'n', 'd', '{}', '{}', 1, 1, 0, "
            "0, 0)"
        )
        old.execute("INSERT INTO spend VALUES ('r', 's/1', 'maxAcuLimit', '2030-01-01', 7, NULL)")
        old.execute(
            "INSERT INTO intents VALUES ('t', 'r', 's/1', 'devin_create_session', 1, 'done', "
            "'x', 0)"
        )
    store = open_store(file)
    rows = store.database.read("SELECT ceiling, reserved FROM spend ORDER BY ceiling")
    assert [tuple(row) for row in rows] == [("maxAcuLimit", 7.0), ("sessions", 1.0)]
    store.close()
