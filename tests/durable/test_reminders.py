"""Reminders that a run asks a person something: when, how often, where to, and what they cost."""

import json
import logging
import re
import threading
import tomllib
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.clock import parse_duration
from sim_devin.errors import CallerError
from sim_devin.runs.reminders import about, read_reminders
from sim_devin.service.hooks import Hook
from sim_devin.simulator import Fault
from sim_devin.store.records import Run, Wait
from sim_devin.store.schema import MIGRATIONS
from sim_devin.store.sql_store import open_store
from sim_devin.store.sqlite_file import SqliteFile
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, wait

SECRET = "made-up-secret-for-tests"
ASKS = devin("create", "create_session", prompt="Fix it [scenario: asks]")
FORM = block(
    "ask",
    "human_in_the_loop",
    builderData=[{"name": "plan", "value": "Drop the table"}],
    inputFormat=[{"name": "ok", "label": "Approved?", "type": "boolean"}],
)
HOUR = 3600


class Receiver:
    """A service on this machine that takes reminders, or does not."""

    def __init__(self):
        self.taken = []
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.came = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.taken.append((self.path, headers, body))
                receiver.came.set()
                receiver.hold.wait(20)
                self.send_response(receiver.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token-in-the-path"

    @property
    def bodies(self):
        return [json.loads(body) for _, _, body in self.taken]


@pytest.fixture
def receiver():
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.hold.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def open_reminding(open_app, tmp_path):
    """Return a function that opens an app whose config file says how to remind."""
    opened = []

    def open_one(url=None, every="30m"):
        lines = ["[reminders]", f'every = "{every}"']
        if url is not None:
            lines += [f'url = "{url}"', f'secret = "{SECRET}"']
        file = tmp_path / "reminding.toml"
        file.write_text("\n".join(lines))
        file.chmod(0o600)
        opened.append(open_app(config=file))
        return opened[-1]

    yield open_one
    for app in opened:
        app.close()


def start(app, *blocks, **options):
    return app.runs.start(flow(*blocks), env=ENV, **options)


def look(*apps):
    """Let workers look after the runs, and what they send arrive."""
    for app in apps:
        app.runs.work(once=True)
    for app in apps:
        app.runs.reminders.close()


def reminders(app, run_id):
    return [event for event in app.runs.events(run_id) if event.kind == "run.reminder"]


# -- what is sent, and when ------------------------------------------------------------------


def test_a_question_is_told_at_once_and_again_until_it_is_answered(
    open_reminding, receiver, transport
):
    app, clock = open_reminding(receiver.url), transport.clock
    run_id = start(app, ASKS, wait(), on_question="hold", answer_within=2 * HOUR)
    app.runs.follow(run_id)
    look(app)
    (first,) = receiver.bodies
    asked = clock.time()
    (waits,) = app.runs.show(run_id)["waits"]
    assert first == {
        "event": "run.reminder",
        "runId": run_id,
        "time": first["time"],
        "workflow": app.runs.show(run_id)["workflow"],
        "blockId": "wait",
        "blockName": "wait",
        "contextId": waits["contextId"],
        "kind": "question",
        "question": "Which branch should I target?",
        "link": waits["url"],
        "since": first["time"],
        "reminders": 1,
        "deadline": first["deadline"],
    }
    at = {name: datetime.fromisoformat(first[name]).timestamp() for name in ("time", "deadline")}
    assert at["time"] == pytest.approx(asked, abs=0.01)
    assert at["deadline"] == pytest.approx(asked + 2 * HOUR, abs=0.01)
    look(app)
    clock.advance(HOUR / 2 - 1)
    look(app)
    assert len(receiver.taken) == 1
    clock.advance(1)
    look(app)
    clock.advance(HOUR)  # it slept: one reminder, not two
    look(app)
    assert [body["reminders"] for body in receiver.bodies] == [1, 2, 3]
    assert app.runs.show(run_id)["waits"][0]["reminders"] == 3
    assert app.runs.show(run_id)["waits"][0]["remindAt"] == pytest.approx(clock.time() + HOUR / 2)
    app.runs.answer(run_id, "main")
    clock.advance(HOUR)
    look(app)
    assert len(receiver.taken) == len(reminders(app, run_id)) == 3
    assert app.runs.show(run_id)["state"] == "done"


def test_it_is_signed_as_a_hook_of_ours_would_have_it(open_reminding, receiver, transport):
    app = open_reminding(receiver.url)
    app.runs.follow(start(app, FORM))
    look(app)
    ((path, headers, body),) = receiver.taken
    now = transport.clock.time()
    assert path == "/token-in-the-path"
    assert headers["content-type"] == "application/json"
    assert Hook("remind", "x.json", SECRET).accepts(headers, body, now)
    assert not Hook("remind", "x.json", SECRET + "x").accepts(headers, body, now)
    assert headers["x-delivery-id"]
    assert receiver.bodies[0]["question"] == "plan: Drop the table\nRequested: Approved?"
    assert receiver.bodies[0]["link"] is None


def test_what_is_uncertain_is_told_too(open_reminding, receiver, simulator):
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    app = open_reminding(receiver.url)
    run_id = start(app, devin("create", "create_session", prompt="Fix it"))
    app.runs.follow(run_id)
    look(app)
    (body,) = receiver.bodies
    assert body["kind"] == "uncertain"
    assert body["question"] == app.runs.show(run_id)["waits"][0]["message"]


def test_however_many_workers_a_moment_has_one_reminder(open_reminding, receiver, transport):
    apps = [open_reminding(receiver.url), open_reminding(receiver.url)]
    run_id = start(apps[0], FORM)
    for turn in range(3):
        look(*(apps if turn % 2 else apps[::-1]))
        transport.clock.advance(HOUR / 2)
    assert [body["reminders"] for body in receiver.bodies] == [1, 2, 3]
    assert len(reminders(apps[0], run_id)) == 3


def test_a_worker_that_comes_second_does_not_remind(open_reminding, receiver, store, monkeypatch):
    one, other = open_reminding(receiver.url), open_reminding(receiver.url)
    run_id = start(one, FORM)
    real = store.unreminded

    def seen_by_both(*arguments, **options):
        monkeypatch.setattr(store, "unreminded", real)
        due = real(*arguments, **options)
        if due:
            one.runs.reminders.remind()
        else:
            monkeypatch.setattr(store, "unreminded", seen_by_both)
        return due

    monkeypatch.setattr(store, "unreminded", seen_by_both)
    look(other, one)
    assert len(receiver.taken) == len(reminders(one, run_id)) == 1


def test_what_is_asked_next_is_told_at_once_again(open_reminding, transport, receiver, simulator):
    app = open_reminding(receiver.url)
    run_id = start(app, ASKS, wait(), on_question="hold")
    app.runs.follow(run_id)
    look(app)
    simulator.faults.add(Fault("status", method="POST", path="/messages$", status=422))
    app.runs.answer(run_id, "main")  # refused: the question stands again
    look(app)
    assert app.runs.show(run_id)["state"] == "asking"
    assert [body["reminders"] for body in receiver.bodies] == [1, 1]


def test_after_the_default_answer_nobody_is_reminded(open_reminding, receiver, transport):
    app = open_reminding(receiver.url)
    run_id = start(app, FORM, answer_within=HOUR / 2, default_answer={"ok": False})
    app.runs.follow(run_id)
    look(app)
    transport.clock.advance(HOUR / 2)
    look(app)
    assert app.runs.show(run_id)["state"] == "done"
    assert len(receiver.taken) == 1


def test_a_run_s_own_pace_goes_before_that_of_the_config_file(open_reminding, transport):
    app = open_reminding()
    run_id = start(app, FORM, remind_every=60)
    look(app)
    transport.clock.advance(60)
    look(app)
    assert len(reminders(app, run_id)) == 2
    with pytest.raises(CallerError, match="remind_every"):
        start(app, FORM, remind_every=0)


def test_without_a_config_file_only_runs_that_say_so_remind(open_app, caplog):
    app = open_app()
    silent, told = start(app, FORM), start(app, FORM, remind_every=60)
    heard = []
    with caplog.at_level(logging.INFO, "sim_devin"):
        app.runs.work(once=True, on_event=heard.append)
    assert reminders(app, silent) == []
    (event,) = reminders(app, told)
    assert event.data["question"].endswith("Approved?")
    assert [item.run_id for item in heard if item.kind == "run.reminder"] == [told]
    assert f"run {told} asks a question" in caplog.text


@pytest.mark.parametrize("store", ["file"], indirect=True)
def test_a_canvas_that_is_served_reminds_too(open_reminding, receiver, tmp_path):
    pytest.importorskip("starlette", reason="the canvas needs its extra")
    from sim_devin.web.runs import RunBoard

    app = open_reminding(receiver.url)
    canvas = RunBoard(app, dict, tmp_path)
    run_id = start(app, FORM)
    canvas.open()
    try:
        assert receiver.came.wait(20)
    finally:
        canvas.close()
    assert [body["runId"] for body in receiver.bodies] == [run_id]


# -- when it cannot be sent ------------------------------------------------------------------


def test_a_failed_reminder_is_logged_once_and_the_next_one_tried(
    open_reminding, receiver, transport, caplog
):
    app = open_reminding(receiver.url)
    run_id = start(app, FORM)
    for status in (500, 404, 200, 500):
        receiver.status = status
        look(app)
        transport.clock.advance(HOUR / 2)
    assert len(receiver.taken) == len(reminders(app, run_id)) == 4
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert all("127.0.0.1" in text and "500" in text for text in warnings)
    assert "token-in-the-path" not in caplog.text
    assert SECRET not in caplog.text


def test_an_address_where_nobody_listens_stops_nothing(open_reminding, transport, caplog):
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    app = open_reminding(f"http://127.0.0.1:{server.server_port}/token-in-the-path")
    run_id = start(app, FORM)
    for _ in range(2):
        look(app)
        transport.clock.advance(HOUR / 2)
    assert len(reminders(app, run_id)) == 2
    assert len(caplog.records) == 1
    assert "token-in-the-path" not in caplog.text


@pytest.mark.parametrize("store", ["file"], indirect=True)
def test_runs_are_driven_while_a_reminder_is_on_its_way(open_reminding, receiver):
    app = open_reminding(receiver.url)
    receiver.hold.clear()
    asking = start(app, FORM)
    app.runs.work(once=True)
    other = start(app, block("end", "response"))
    app.runs.work(once=True)
    assert app.runs.show(other)["state"] == "done"
    assert app.runs.show(asking)["state"] == "asking"
    receiver.hold.set()
    app.runs.reminders.close()
    assert len(receiver.taken) == 1


def test_a_redirect_is_not_followed(open_reminding, receiver, caplog):
    app = open_reminding(receiver.url)
    receiver.status = 307
    app.runs.follow(start(app, FORM))
    look(app)
    assert [path for path, _, _ in receiver.taken] == ["/token-in-the-path"]
    assert "it returned 307" in caplog.text


def test_a_simulated_app_keeps_to_this_machine(open_reminding, caplog):
    app = open_reminding("https://hooks.example/devin")  # the guard of all tests would fail it
    run_id = start(app, FORM)
    look(app)
    assert len(reminders(app, run_id)) == 1
    assert not caplog.records


# -- what was asked before an upgrade --------------------------------------------------------


@pytest.fixture(params=["file", "postgres"])
def older(request, tmp_path):
    """Return the place of a store of version 4 in which a run asks a question."""
    if request.param == "file":
        place = str(tmp_path / "old.sqlite")
        database = SqliteFile(place, MIGRATIONS[:4])
    else:
        from sim_devin.store.postgres import PostgresDatabase

        place = request.getfixturevalue("postgres")
        database = PostgresDatabase(place, MIGRATIONS[:4])
    with database.write() as connection:
        connection.execute("INSERT INTO documents VALUES ('d', '{}')")
        connection.execute(
            "INSERT INTO runs (id, state, name, document, children, options, created, updated, "
            "fence, lease_until, cancelling) "
            "VALUES ('r', 'asking', 'flow', 'd', '{}', '{}', 1, 1, 0, 0, 0)"
        )
        connection.execute(
            'INSERT INTO waits (run_id, step, kind, block_id, context_id, point, "then", about, '
            "next_look, pause, created, open) VALUES ('r', 'ask#1', 'human', 'ask', 'c', "
            "'{\"blockName\": \"Ask\"}', 'answered', '{}', 0, 0, 1, 1)"
        )
    database.close()
    return place


@contextmanager
def opened(place):
    store = open_store(place)
    yield store
    store.close()


def test_what_was_asked_before_an_upgrade_is_told_after_it(older, transport, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[reminders]\nevery = "1h"\n')
    with (
        opened(older) as store,
        sim_devin.open_app(
            transport=transport, clock=transport.clock, store=store, config=file, discover=False
        ) as app,
    ):
        assert app.runs.show("r")["waits"][0]["reminders"] == 0
        look(app)
        look(app)
        (event,) = reminders(app, "r")
        assert event.data["blockName"] == "Ask"
        assert event.data["since"] == "1970-01-01T00:00:01.000Z"


# -- what is said, and what can be declared --------------------------------------------------


@pytest.mark.parametrize(
    ("point", "question"),
    [
        ({"question": "Which?", "message": "no"}, "Which?"),
        ({"message": "Maybe sent."}, "Maybe sent."),
        ({}, ""),
        ({"response": "text"}, ""),
        ({"response": {"data": {"inputFormat": "text", "responseStructure": [1, {}]}}}, ""),
        (
            {"response": {"data": {"inputFormat": [{"label": "A"}, {"label": "B"}]}}},
            "Requested: A, B",
        ),
    ],
)
def test_the_question(point, question):
    run = Run("r", "asking", "d")
    assert about(run, Wait("r", "s", "human", point=point))["question"] == question


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("text", "must be a table"),
        ({"every": "soon"}, "not a duration"),
        ({"url": "https://hooks.example"}, "not a duration"),
        ({"every": "1h", "evry": "1h"}, "Unknown key 'evry'"),
        ({"every": "1h", "url": "http://hooks.example", "secret": SECRET}, "must use https"),
        ({"every": "1h", "url": "hooks.example", "secret": SECRET}, "not an http"),
        ({"every": "1h", "url": "https://[", "secret": SECRET}, "not a URL"),
        ({"every": "1h", "url": "https://a:b@hooks.example", "secret": SECRET}, "credentials"),
        ({"every": "1h", "url": "https://hooks.example"}, "either secret or secret_env"),
        ({"every": "1h", "url": "https://hooks.example", "secret": "short"}, "16 characters"),
        ({"every": "1h", "url": "https://hooks.example", "secret_env": "UNSET"}, "16 characters"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(table, message):
    with pytest.raises(CallerError, match=message) as caught:
        read_reminders(table, {})
    assert caught.value.hint or "secret" in message
    assert SECRET not in f"{caught.value} {caught.value.hint}"


def test_the_reminders_of_the_documentation_can_be():
    page = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```toml\n(\[reminders\].*?)^```", page, re.MULTILINE | re.DOTALL)
    read = read_reminders(tomllib.loads(code)["reminders"], {"REMINDER_SECRET": SECRET})
    assert (read.every, read.url) == (1800, "https://hooks.example/devin")


def test_reminders_are_read():
    assert read_reminders({}, {}).url == ""
    table = {"every": "1h", "url": "https://hooks.example/x?y=1", "secret_env": "S"}
    read = read_reminders(table, {"S": SECRET})
    assert (read.every, read.url, read.secret) == (3600, table["url"], SECRET)
    assert SECRET not in repr(read)
    assert "hooks.example" not in repr(read)


@given(st.text())
def test_any_length_of_time_is_taken_or_turned_away(text):
    with suppress(ValueError):
        assert 0 < parse_duration(text) < 1e9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), (" 2H ", 7200), ("1d", 86400), ("0.5h", 1800)],
)
def test_lengths_of_time(text, seconds):
    assert parse_duration(text) == seconds


def test_when_it_was_said_is_utc():
    run, asked = Run("r", "asking", "d"), Wait("r", "s", "human", created=0.0, answer_by=60.0)
    told = about(run, asked)
    assert datetime.fromisoformat(told["deadline"]) == datetime.fromtimestamp(60, UTC)
