"""Nothing that is kept or shown of a run holds a secret, in whatever spelling it came back."""

import json
import logging

import pytest

import sim_devin
from sim_devin.calls.intents import Settle
from sim_devin.policy.rules import COSTS_MONEY, Policy
from sim_devin.simulator.faults import Fault
from tests.durable.canaries import (
    CANARIES,
    DATA,
    ENV,
    KEY,
    SAID,
    SHORT,
    Echo,
    Talking,
    found,
    found_in,
)
from tests.durable.flows import block, devin, flow, wait

OWN = CANARIES["of the document"]
SESSION = json.dumps([{"key": "K", "value": CANARIES["of the session"]}])
SCHEMA = json.dumps({"type": "object"})
FORM = block("form", "human_in_the_loop", inputFormat=[{"id": "1", "name": "x", "type": "string"}])
HERE = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "{{ORG_SECRET}}"}
CREATE_HERE = block("create", "devin", operation="create_session", prompt="Go", **HERE)
WAIT_HERE = block("wait", "devin_wait", sessionId="<create.sessionId>", **HERE)
HELD = Policy(confirm=(COSTS_MONEY,))
ALL = '{"in": <start.x>, "said": <wait.title>, "data": <wait.structuredOutput>}'
CREATE = devin("create", "create_session", prompt="Go", structuredOutputSchema=SCHEMA)


@pytest.fixture
def open_one(store, transport):
    """Return a function that opens an app over a service that repeats every secret."""

    def open_one(*, structured=True, also=(), **options):
        return sim_devin.open_app(
            store=store,
            transport=Echo(transport, structured=structured, also=also),
            clock=transport.clock,
            env=ENV,
            llm=Talking(),
            credentials={"apiKey": KEY, "orgId": "org-simulated"},
            settle=Settle(grace=30.0, policy="hold"),
            discover=False,
            **options,
        )

    return open_one


@pytest.fixture
def told(caplog):
    """Return what was logged and what listeners heard."""
    caplog.set_level(logging.DEBUG)
    return caplog


def end(data):
    return block("end", "response", dataMode="json", data=data)


def start(app, *blocks, inputs=None, edges=None, **options):
    given = {"x": SAID, "password": SHORT} if inputs is None else inputs
    return app.runs.start(flow(*blocks, edges=edges), given, env=ENV, **options)


def drive(open_one, clock, **options):
    heard = []
    for _ in range(10):
        open_one(**options).runs.work(once=True, on_event=lambda e: heard.append(e.to_json()))
        clock.advance(40)
    return heard


# -- the workflows ----------------------------------------------------------------------------


def sessions(open_one, clock):
    say = devin("say", "send_message", sessionId="<create.sessionId>", message="<wait.title>")
    create = devin(
        "create",
        "create_session",
        prompt="Go",
        structuredOutputSchema=SCHEMA,
        sessionSecrets=SESSION,
    )
    bindings = {f"{name}.apiKey": OWN for name in ("create", "wait")}
    also = [OWN, CANARIES["of the session"]]
    run_id = start(open_one(), create, wait(), say, end(ALL), bindings=bindings)
    app = open_one(also=also)
    app.runs.resume(run_id, bindings={**bindings, "create.sessionSecrets": SESSION})
    heard = []
    for _ in range(10):
        app.runs.work(once=True, on_event=lambda event: heard.append(event.to_json()))
        clock.advance(40)
    messages = app.transport.simulator.truth()[0]["messages"]
    sent = [item["message"] for item in messages if item["source"] == "user"]
    # As it was before it was stored, but for what the block's own key may not be sent as.
    assert sent[1:] == [app.transport.said.replace(KEY, "{{DEVIN_API_KEY}}")]
    fork = app.runs.fork(run_id, "say")
    app.runs.work(once=True)
    return [run_id, fork], heard


def questions(open_one, clock):
    create = devin("create", "create_session", prompt="Go [scenario: asks]")
    run_id = start(
        open_one(), create, wait(), on_question="hold", remind_every=10.0, default_answer=DATA
    )
    heard = drive(open_one, clock, structured=False)
    app = open_one(structured=False)
    assert app.runs.show(run_id)["state"] == "asking"
    clock_fault = Fault("status", method="POST", path="/messages$", status=400)
    app.transport.simulator.faults.add(clock_fault)
    app.runs.answer(run_id, SAID)  # refused, in words that repeat everything
    app.runs.answer(run_id, SAID)
    return [run_id], heard + drive(open_one, clock, structured=False)


def default_answers(open_one, clock):
    create = devin("create", "create_session", prompt="Go [scenario: asks]")
    run_id = start(
        open_one(), create, wait(), on_question="hold", answer_within=60.0, default_answer=DATA
    )
    return [run_id], drive(open_one, clock, structured=False)


def forms(open_one, clock):
    run_id = start(open_one(), FORM, end('{"in": <start.x>, "form": <form.x>}'))
    heard = drive(open_one, clock)
    open_one().runs.answer(run_id, {"x": SAID, "password": SHORT})
    return [run_id], heard + drive(open_one, clock)


def yeses(open_one, clock):
    create = devin("create", "create_session", prompt="<start.x>")
    runs = [start(open_one(policy=HELD), create) for _ in range(2)]
    heard = drive(open_one, clock, policy=HELD)
    app = open_one(policy=HELD)
    app.runs.answer(runs[0], {"approved": True})
    app.runs.answer(runs[1], {"approved": False, "reason": SAID})
    return runs, heard + drive(open_one, clock, policy=HELD)


def failures(open_one, clock):
    faults = open_one().transport.simulator.faults
    faults.add(Fault("status", method="POST", path="/sessions$", status=400, times=9))
    run_id = start(open_one(), CREATE)
    return [run_id], drive(open_one, clock)


def lost_answers(open_one, clock):
    faults = open_one().transport.simulator.faults
    faults.add(Fault("reset", method="POST", path="/sessions$", commit=False, times=9))
    run_id = start(open_one(), CREATE, wait())
    heard = drive(open_one, clock)
    return [run_id], heard


def other_services(open_one, clock):
    ask = block("ask", "api", url="https://echo.example/<start.x>", method="POST", body=SAID)
    send = devin("send", "create_session", prompt="<ask.data>")
    run_id = start(open_one(), ask, send, end('{"all": <ask.data>}'))
    return [run_id], drive(open_one, clock)


def agents(open_one, clock):
    tool = {"type": "tool", "toolId": "devin_create_session", "usageControl": "auto", "params": {}}
    messages = [{"role": "user", "content": "<start.x>"}]
    agent = block("agent", "agent", messages=messages, model="m", tools=[tool])
    run_id = start(open_one(), agent, end('{"all": <agent.content>}'))
    return [run_id], drive(open_one, clock)


def child_runs(open_one, clock):
    child = flow(CREATE, wait(), FORM, end('{"said": <wait.title>}'))
    call = block("call", "workflow", workflowId="kid", inputMapping={"x": "<start.x>"})
    run_id = start(open_one(), call, end('{"all": "<call.result>"}'), children={"kid": child})
    heard = drive(open_one, clock)
    app = open_one()
    if app.runs.show(run_id)["state"] == "asking":
        app.runs.answer(run_id, {"x": SAID})
    return [run_id], heard + drive(open_one, clock)


def held_runs(open_one, clock):
    run_id = start(open_one(), CREATE, stop_after=f"nowhere {SAID}")
    return [run_id], drive(open_one, clock)


def plain_runs(open_one, clock):
    app = open_one()
    run = app.run(flow(CREATE, wait(), FORM, end(ALL)), {"x": SAID}, env=ENV)
    again = open_one().resume(run.run_id, {"x": SAID}, env=ENV)
    assert again.success, again.error
    assert {"MY_TOKEN", "ODD_PASSWORD"} <= set(found_in(again.output))  # its caller may know
    return [], []


KINDS = {
    sessions: ["done", "done"],
    questions: ["done"],
    default_answers: ["done"],
    forms: ["done"],
    yeses: ["done", "failed"],
    failures: ["failed"],
    lost_answers: ["uncertain"],
    other_services: ["done"],
    agents: ["done"],
    child_runs: ["done"],
    held_runs: ["held"],
    plain_runs: [],
}


# -- the scan -------------------------------------------------------------------------------------


def rows_of(store):
    """Return every row of every table of a store."""
    if store.database.name.startswith("postgresql"):
        query = "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = "
        tables = store.database.read(query + "current_schema()")
    else:
        tables = store.database.read("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {
        table["name"]: [
            dict(row) for row in store.database.read(f'SELECT * FROM "{table["name"]}"')
        ]
        for table in tables
    }


def leaks_of(app, store, folder, told, heard=(), runs=()):
    """Return where canaries stand: place -> names."""
    places = {f"table {name}": found(str(rows)) for name, rows in rows_of(store).items()}
    places |= {
        f"table {name}.{column}": names
        for name, rows in rows_of(store).items()
        for row in rows
        for column, value in row.items()
        if (names := found(str(value)))
    }
    for file in folder.glob("runs.sqlite*"):
        places[file.name] = found(file.read_bytes())
    places["log"] = found("\n".join(record.getMessage() for record in told.records))
    places["log records"] = found("\n".join(str(record.__dict__) for record in told.records))
    places["events heard"] = found_in(list(heard))
    places["list"] = found_in(app.runs.list())
    for run_id in runs:
        places["show"] = found_in(app.runs.show(run_id))
        places["events"] = found_in([event.to_json() for event in app.runs.events(run_id)])
    return {place: names for place, names in places.items() if names}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_secret_is_kept_or_shown(kind, open_one, store, told, tmp_path, transport):
    runs, heard = kind(open_one, transport.clock)
    app = open_one()
    assert [app.runs.show(run_id)["state"] for run_id in runs] == KINDS[kind]
    assert leaks_of(app, store, tmp_path, told, heard, runs) == {}


@pytest.mark.parametrize(
    "used",
    [
        {"headers": [{"id": "1", "cells": {"Key": "Authorization", "Value": "Bearer {{PLAIN}}"}}]},
        {"headers": {"X-Api-Key": "{{PLAIN}}"}},
        {"params": [{"id": "1", "cells": {"Key": "access_token", "Value": "{{PLAIN}}"}}]},
        {"url": "https://echo.example/?api_key={{PLAIN}}&x=1"},
        {"url": "https://me:{{PLAIN}}@echo.example/"},
        {"body": '{"a": {"password": "x{{PLAIN}}"}}', "method": "POST"},
    ],
    ids=json.dumps,
)
def test_a_variable_in_a_secret_place_is_secret_whatever_its_name(used, store, transport, told):
    value = "canary-in-a-plain-variable"
    env = {"PLAIN": value}
    echo = Echo(transport, also=[value])
    echo.answers = {"said": f"you sent {value}"}
    app = sim_devin.open_app(
        store=store, transport=echo, clock=transport.clock, env=env, credentials={}, discover=False
    )
    values = {"url": "https://echo.example/", "method": "GET", **used}
    document = flow(block("ask", "api", **values), end('{"all": <ask.data>}'))
    run_id = app.runs.start(document, env=env)
    app.runs.work(once=True)
    shown = app.runs.show(run_id)
    assert shown["state"] == "done", shown["error"]
    kept = str(rows_of(store)) + json.dumps(shown) + "".join(map(str, app.runs.events(run_id)))
    assert value not in kept
    plain = app.run(document, env=env)
    assert plain.output["data"]["all"] == echo.answers  # its caller may know
    assert value not in json.dumps([log.to_json() for log in plain.logs])


TYPED = "typed-canary-4711"
ROW = {"id": "1", "cells": {"Key": "Authorization", "Value": f"Bearer {TYPED}"}}


@pytest.mark.parametrize(
    "typed",
    [
        {"headers": [ROW]},
        {"headers": json.dumps([ROW])},
        {"headers": {"X-Api-Key": TYPED}},
        {"params": [{"id": "1", "cells": {"Key": "access_token", "Value": TYPED}}]},
        {"url": f"https://echo.example/?api_key={TYPED}&x=1"},
        {"url": f"https://me:{TYPED}@echo.example/"},
        {"body": json.dumps({"a": {"password": TYPED}}), "method": "POST"},
        {"body": f'{{"a": <start.x>, "password": "{TYPED}"}}', "method": "POST"},
    ],
    ids=json.dumps,
)
def test_a_secret_that_was_typed_in_a_place_of_its_name_is_sent_and_never_kept(
    typed, store, transport
):
    class Asked(Echo):
        def send(self, request, *, timeout):
            sent.append(str((request.url, request.headers, request.json)))
            return super().send(request, timeout=timeout)

    def open_one():
        return sim_devin.open_app(
            store=store,
            transport=echo,
            clock=transport.clock,
            env={},
            credentials={},
            discover=False,
        )

    sent = []
    echo = Asked(transport)
    echo.answers = {"said": f"you sent {TYPED}"}
    values = {"url": "https://echo.example/", "method": "GET", **typed}
    ask = block("ask", "api", **values)
    app = open_one()
    run_id = app.runs.start(flow(ask, FORM, block("ask again", "api", **values)), {"x": 1})
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "asking", app.runs.show(run_id)["error"]
    assert len(sent) == 1
    other = open_one()  # a process that has not seen the document
    other.runs.answer(run_id, {"x": "go on"})
    other.runs.work(once=True)
    held = other.runs.show(run_id)
    assert held["state"] == "held"
    assert "ask" in held["error"]
    (field,) = (name for name in typed if name != "method")
    whole = typed[field] if isinstance(typed[field], str) else json.dumps(typed[field])
    other.runs.resume(run_id, bindings={f"{name}.{field}": whole for name in ("ask", "ask again")})
    other.runs.work(once=True)
    assert other.runs.show(run_id)["state"] == "done"
    fork = other.runs.fork(run_id, "ask again")
    other.runs.work(once=True)
    assert other.runs.show(fork)["state"] == "done"
    assert len(sent) == 3
    assert len(set(sent)) == 1
    assert TYPED in sent[0]
    shown = [other.runs.show(run) for run in (run_id, fork)]
    assert TYPED not in str(rows_of(store)) + json.dumps(shown)


def test_what_only_looks_like_a_secret_is_kept_as_it_is(store, transport, open_one):
    body = '{"auth": "required", "password": "<start.x>", "nextPageToken": "page-2-of-it"}'
    ask = block("ask", "api", url="https://echo.example/", method="POST", body=body)
    prompt = devin("create", "create_session", prompt='Set {"password": "by-hand-1"} there')
    run_id = start(open_one(), ask, prompt, inputs={"x": "plain"})
    open_one().runs.work(once=True)
    assert open_one().runs.show(run_id)["state"] == "done"
    kept = str(rows_of(store)["documents"])
    assert all(text in kept for text in ("required", "page-2-of-it", "by-hand-1"))


@pytest.mark.parametrize("where", ["session_id", "session_id in a list"])
def test_a_session_id_that_holds_a_secret_is_refused(where, store, transport, told, tmp_path):
    class Hostile(Echo):
        def _repeat(self, body):
            if "session_id" in body and "in a list" not in where:
                body["session_id"] = f"devin-{KEY}"
            for item in body.get("items", ()):
                item["session_id"] = f"devin-{KEY}"

    app = sim_devin.open_app(
        store=store,
        transport=Hostile(transport),
        clock=transport.clock,
        env=ENV,
        credentials={"apiKey": KEY, "orgId": "org-simulated"},
        settle=Settle(grace=30.0, policy="hold"),
        discover=False,
    )
    if "in a list" in where:
        lost = Fault("reset", method="POST", path="/sessions$", commit=True)
        transport.simulator.faults.add(lost)
    run_id = start(app, CREATE, wait())
    app.runs.work(once=True)
    shown = app.runs.show(run_id)
    assert shown["state"] == "uncertain"
    assert "secret" in shown["waits"][0]["message"]
    assert leaks_of(app, store, tmp_path, told, (), [run_id]) == {}


def test_the_address_of_an_organization_is_kept_without_secrets(store, transport):
    org = "org-that-is-secret"
    env = {**ENV, "ORG_SECRET": org}
    app = sim_devin.open_app(
        store=store,
        transport=transport,
        clock=transport.clock,
        env=env,
        credentials={},
        discover=False,
    )
    run_id = app.runs.start(flow(CREATE_HERE, WAIT_HERE), env=env)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "waiting", app.runs.show(run_id)["error"]
    transport.clock.advance(600)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "done"
    assert org not in str(rows_of(store))


@pytest.mark.parametrize("given", [SESSION, json.loads(SESSION)], ids=["text", "list"])
def test_the_logs_of_a_plain_run_hold_no_secret_of_a_session(given, transport):
    secret = CANARIES["of the session"]
    create = devin("create", "create_session", prompt="Go", sessionSecrets=given)
    app = sim_devin.open_app(
        transport=Echo(transport, also=[secret]), env=ENV, credentials={}, discover=False
    )
    result = app.run(flow(create), env=ENV)
    assert secret in result.output["title"]
    assert found_in([log.to_json() for log in result.logs]) == []


@pytest.mark.parametrize("canary", CANARIES)
def test_the_scan_finds_what_it_looks_for(canary, open_one, store, told, tmp_path):
    run_id = start(open_one(), FORM, inputs={})
    with store.database.write() as connection:
        connection.execute("UPDATE runs SET name = ?", (f"see {CANARIES[canary]}",))
    logging.getLogger("sim_devin").debug("see %s", CANARIES[canary])
    leaks = leaks_of(open_one(), store, tmp_path, told, [{"x": CANARIES[canary]}], [run_id])
    wanted = {"table runs", "table runs.name", "log", "log records", "events heard"}
    assert wanted <= set(leaks)
    assert all(leaks[place] == [canary] for place in wanted)
    if any(tmp_path.iterdir()):
        assert "runs.sqlite-wal" in leaks
