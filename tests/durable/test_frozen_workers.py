"""Processes that stand still for longer than their lease, and what comes too late of them."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sim_devin.calls.intents import Intent, Settle, next_state
from sim_devin.cli.commands.runs_report import lines
from sim_devin.devin.verdict import session_kind
from sim_devin.errors import TimedOut
from sim_devin.simulator.faults import Fault
from sim_devin.store.rows import LeaseLost
from sim_devin.store.step_ledger import StepLedger
from tests.durable.conftest import ENV, take_for_dead
from tests.durable.flows import devin, flow

CREATE = "devin_create_session"

ROOT = Path(__file__).parents[2]
BLOCK = devin("create", "create_session", prompt="Fix it", maxAcuLimit="8")
RETRY = Settle(grace=30.0, policy="retry")


class Frozen:
    """A process that stands still at its first POST: before it is sent, or before its answer."""

    def __init__(self, app, *, sent):
        self.sent = sent
        self.reached, self.thawed = threading.Event(), threading.Event()
        self._send = app.transport.send

    def send(self, request, *, timeout):
        if request.method != "POST" or self.reached.is_set():
            return self._send(request, timeout=timeout)
        answer = self._send(request, timeout=timeout) if self.sent else None
        self.reached.set()
        assert self.thawed.wait(60)
        if answer is None:
            request.confirm()
            answer = self._send(request, timeout=timeout)
        return answer


@pytest.fixture
def frozen(open_app, store, transport):
    """Return a function that lets a run's process freeze, and returns what thaws it."""

    def freeze(document, *, sent, settle=RETRY):
        app = open_app(settle=settle)
        run_id = app.runs.start(document, env=ENV)
        process = Frozen(app, sent=sent)
        real, transport.send = transport.send, process.send
        app.runs.worker.carrier.keep = lambda: {run_id: (1, False)}  # it stands still
        thread = threading.Thread(target=lambda: app.runs.follow(run_id), daemon=True)
        thread.start()
        assert process.reached.wait(60)
        transport.send = real
        take_for_dead(store)

        def thaw():
            process.thawed.set()
            deadline = time.monotonic() + 60
            while process.sent and not any(
                event.kind == "call.late" for event in app.runs.events(run_id)
            ):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            thread.join(60)
            assert not thread.is_alive()

        return run_id, thaw

    return freeze


def live(simulator):
    return [item["session_id"] for item in simulator.truth() if item["status"] != "exit"]


def test_what_was_not_sent_before_the_run_was_lost_is_not_sent(open_app, simulator, frozen):
    run_id, thaw = frozen(flow(BLOCK), sent=False)
    app = open_app(settle=RETRY)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    thaw()
    assert simulator.counts["sessions_created"] == 1


def test_an_answer_that_comes_after_something_took_its_place_is_ended_and_reported(
    open_app, simulator, frozen
):
    simulator.switches = simulator.switches.changed({"list_lag": 60})
    run_id, thaw = frozen(flow(BLOCK), sent=True)
    app = open_app(settle=RETRY)
    app.runs.follow(run_id)
    shown = app.runs.show(run_id)
    assert shown["state"] == "done"
    assert simulator.counts["sessions_created"] == 2
    thaw()
    app.runs.work(once=True)
    simulator.clock.advance(3600)
    app.runs.work(once=True)
    assert live(simulator) == [shown["blocks"][0]["output"]["sessionId"]]
    shown = app.runs.show(run_id)
    assert any("arrived too late" in text for text in shown["warnings"])
    assert any("was ended" in text for text in shown["warnings"])
    assert any("Warning: The duplicate session" in line for line in lines(shown, app.registry))


def test_an_answer_that_comes_while_a_person_is_asked_answers_the_question(
    open_app, simulator, frozen
):
    simulator.switches = simulator.switches.changed({"list_lag": 600})
    run_id, thaw = frozen(flow(BLOCK), sent=True, settle=Settle(grace=30.0))
    app = open_app()
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "uncertain"
    thaw()
    app.runs.follow(run_id)
    shown = app.runs.show(run_id)
    assert shown["state"] == "done"
    assert live(simulator) == [shown["blocks"][0]["output"]["sessionId"]]
    assert "is used" in shown["warnings"][0]


@pytest.mark.parametrize("late", [True, False], ids=["it is there", "it is not"])
def test_a_persons_repeat_looks_once_more_before_it_posts(open_app, simulator, late):
    app = open_app()
    run_id = app.runs.start(flow(BLOCK), env=ENV)
    fault = Fault("commit_delay", method="POST", path="/sessions$", seconds=600)
    simulator.faults.add(fault if late else Fault("reset", method="POST", path="/sessions$"))
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "uncertain"
    simulator.clock.advance(600)
    app.runs.answer(run_id, {"repeat": True})
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    assert len([item for item in simulator.truth() if item["committed"]]) == 1


def test_a_persons_repeat_of_a_message_looks_once_more_before_it_posts(open_app, simulator):
    app = open_app()
    send = devin("send", "send_message", sessionId="<create.sessionId>", message="go on")
    run_id = app.runs.start(flow(BLOCK, send), env=ENV)
    simulator.faults.add(Fault("reset", method="POST", path="/messages$", commit=True))
    deaf = Fault("status", status=500, method="GET", path="/messages$", times=None, after=1)
    simulator.faults.add(deaf)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "uncertain"
    simulator.faults.clear()
    app.runs.answer(run_id, {"repeat": True})
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    (session,) = simulator.truth()
    assert [item["message"] for item in session["messages"]].count("go on") == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_commits_and_says_later_gets_one_session_under_a_ceiling(
    open_app, simulator, status
):
    app = open_app()
    simulator.switches = simulator.switches.changed({"list_lag": 20})
    simulator.faults.add(
        Fault("status", method="POST", status=status, retry_after=1, commit=True, times=9)
    )
    run_id = app.runs.start(flow(BLOCK), env=ENV, max_acu=8)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    assert simulator.counts["sessions_created"] == 1


def test_a_double_with_the_same_tag_that_shows_up_after_the_run_is_ended(open_app, simulator):
    app = open_app()
    simulator.switches = simulator.switches.changed({"list_lag": 60})
    simulator.faults.add(Fault("status", method="POST", status=429, retry_after=1, commit=True))
    run_id = app.runs.start(flow(BLOCK), env=ENV)
    app.runs.follow(run_id)
    kept = app.runs.show(run_id)["blocks"][0]["output"]["sessionId"]
    assert simulator.counts["sessions_created"] == 2
    simulator.clock.advance(3600)
    open_app().runs.work(once=True)
    assert live(simulator) == [kept]
    assert "was ended" in app.runs.show(run_id)["warnings"][0]


def test_a_request_that_was_given_up_before_it_was_sent_is_not_sent(store, open_app):
    app = open_app()
    run_id = app.runs.start(flow(BLOCK), env=ENV)
    run = app.runs.worker.claim(run_id)
    ledger = StepLedger(store, run, "create#1/1", app.clock)
    intent = Intent(ledger.tag("0"), CREATE, app.clock.time())
    assert ledger.claim(intent)
    ledger.confirm(intent)
    take_for_dead(store)
    other = open_app().runs.worker.claim(run_id)
    assert other is not None
    with pytest.raises(LeaseLost):
        ledger.confirm(intent)


def test_without_a_lease_what_was_held_up_for_long_is_not_sent(store, open_app):
    app = open_app()
    run = store.run(app.runs.start(flow(BLOCK), env=ENV))
    ledger = StepLedger(store, run, "wait#1!1", app.clock, driven=False)
    intent = Intent(ledger.tag("0"), CREATE, app.clock.time())
    ledger.claim(intent)
    with pytest.raises(TimedOut) as caught:
        ledger.confirm(intent, stale=True)
    assert caught.value.means.did_nothing


STATES = ("open", "done", "rejected", "repeat", "uncertain", "missing", "stray")
WANTED = {
    "open": {"done", "rejected", "repeat", "uncertain", "missing"},
    "rejected": {"done"},
    "repeat": {"done"},
    "uncertain": {"done", "repeat", "rejected"},
    "missing": {"stray", "repeat", "uncertain"},
    "done": set(),
    "stray": set(),
}


@pytest.mark.parametrize("learned", STATES)
@pytest.mark.parametrize("known", STATES)
def test_what_becomes_of_an_intent(store, open_app, known, learned):
    app = open_app()
    run = store.run(app.runs.start(flow(BLOCK), env=ENV))
    ledger = StepLedger(store, run, "create#1/1", app.clock, driven=False)
    intent = Intent(ledger.tag("0"), CREATE, app.clock.time())
    ledger.claim(intent)
    with store.database.write() as connection:
        connection.execute("UPDATE intents SET state = ?", (known,))
    kept = ledger.settle(intent.tag, learned, "s1" if learned == "done" else None)
    after = "stray" if (known, learned) == ("missing", "done") else learned
    expected = after if after in WANTED[known] else known
    assert kept.state == expected
    (recorded,) = ledger.earlier()
    assert recorded.state == expected
    assert next_state(Intent("t", CREATE, 0.0, known), learned) == expected


def test_of_two_answers_to_one_step_the_first_is_kept(store, open_app):
    app = open_app()
    run = store.run(app.runs.start(flow(BLOCK), env=ENV))
    ledger = StepLedger(store, run, "create#1/1", app.clock, driven=False)
    tags = [ledger.tag("0"), ledger.tag("1")]
    for tag in tags:
        ledger.claim(Intent(tag, CREATE, app.clock.time()))
    assert ledger.settle(tags[0], "done", "s1").session_id == "s1"
    kept = ledger.settle(tags[1], "done", "s2")
    assert (kept.tag, kept.session_id) == (tags[0], "s1")
    assert [intent.state for intent in ledger.earlier()] == ["done", "stray"] or [
        intent.state for intent in ledger.earlier()
    ] == ["stray", "done"]
    assert ledger.in_use(session_kind(), "s1")
    assert not ledger.in_use(session_kind(), "s2")


@pytest.mark.parametrize("kept_in", ["file", "postgres"])
def test_a_process_stopped_by_a_signal_sends_nothing_of_a_run_it_has_lost(
    tmp_path, kept_in, request
):
    """A real process, really stopped, over a real connection. What is in a file it does not lose.

    There its successor waits until it goes on, or ends.
    """
    place = tmp_path / "runs.sqlite" if kept_in == "file" else request.getfixturevalue("postgres")
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    service = subprocess.Popen(
        [sys.executable, "-m", "sim_devin.simulator", "--port=0"], stdout=subprocess.PIPE, text=True
    )
    try:
        url = service.stdout.readline().split()[0].partition("=")[2]
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "DEVIN_BASE_URL": url,
            "DEVIN_API_KEY": "cog_test_key_000000",
            "PYTHONPATH": str(ROOT),
            "DEVIN_ORG_ID": "org-simulated",
            "SIM_DEVIN_STORE": str(place),
            "SIM_DEVIN_LEASE": "0.5",
            "SIM_DEVIN_GRACE": "1",
            "SIM_DEVIN_AMBIGUOUS": "retry",
            "SIM_DEVIN_CONFIG": str(tmp_path / "none.toml"),
        }
        (tmp_path / "none.toml").write_text("")
        first = subprocess.Popen(
            [sys.executable, script, "freeze"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert [first.stdout.readline() for _ in range(2)] == ["ready\n", "about to send\n"]
        first.send_signal(signal.SIGSTOP)
        print(file=first.stdin, flush=True)  # it sends as soon as it goes on
        time.sleep(1.0)
        second = subprocess.Popen(
            [sys.executable, script], env=env, stdout=subprocess.PIPE, text=True
        )
        if kept_in == "file":
            assert second.stdout.readline() == "running\n"
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(1.0)
            first.send_signal(signal.SIGCONT)
        out, _ = second.communicate(timeout=60)
        assert out.split()[-2:] == ["done", "1"]
        first.send_signal(signal.SIGCONT)
        out, _ = first.communicate(timeout=60)
        assert out.split()[-2:] == ["done", "1"]
    finally:
        with suppress(ProcessLookupError):
            first.kill()
        service.terminate()
        service.wait()
        service.stdout.close()
        first.stdout.close()


WORKER = """
import json, os, sys, time
import sim_devin
from sim_devin.store.step_ledger import StepLedger
from tests.durable.flows import devin, flow

BLOCK = devin("create", "create_session", prompt="Fix it", maxAcuLimit="8")

app = sim_devin.open_app(discover=False)
if sys.argv[1:] == ["freeze"]:
    run_id = app.runs.start(flow(BLOCK), env=os.environ, run_id="run-1")
    confirm, asked = StepLedger.confirm, []

    def late(self, intent, **options):
        confirm(self, intent, **options)
        if not asked:
            asked.append(True)
            print("about to send", flush=True)
            sys.stdin.readline()

    StepLedger.confirm = late
print(app.runs.show("run-1")["state"], flush=True)
app.runs.follow("run-1")
print(app.runs.show("run-1")["state"], flush=True)
print(len(app.call("devin_list_sessions")["sessions"]), flush=True)
"""
