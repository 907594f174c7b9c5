"""The commands for durable runs: start, list, show, answer, resume, cancel, watch, worker."""

import json
from contextlib import closing

import pytest
from click.testing import CliRunner

from sim_devin import open_app
from sim_devin.cli.main import cli
from sim_devin.simulator import Fault, SimClock, Simulator
from sim_devin.simulator.server import serve
from sim_devin.store.records import EventRecord
from sim_devin.store.sql_store import open_store
from tests.durable.flows import block, devin, flow, wait


@pytest.fixture(scope="module")
def service():
    simulator = Simulator(clock=SimClock(speed=0), seed=3)
    with serve(simulator) as url:
        yield simulator, url


@pytest.fixture
def simulator(service):
    simulator, _ = service
    simulator.reset()
    return simulator


@pytest.fixture
def sim_devin(service, simulator, tmp_path):
    """Return a function that runs a command over the test's own store."""
    environment = {
        "DEVIN_API_KEY": "cog_test_key_000000",
        "DEVIN_ORG_ID": "org-simulated",
        "DEVIN_BASE_URL": service[1],
        "SIM_DEVIN_STORE": str(tmp_path / "runs.sqlite"),
        "SIM_DEVIN_CONFIG": str(tmp_path / "none" / "config.toml"),
        "SIM_DEVIN_GRACE": "0.05",
        "SIM_DEVIN_RETRIES": "0",
    }
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "config.toml").write_text("")

    def run(*arguments, code=0, stream="stdout"):
        result = CliRunner().invoke(cli, [str(item) for item in arguments], env=environment)
        assert result.exit_code == code, (result.output, result.exception)
        return getattr(result, stream)

    return run


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a workflow to a file."""

    def write(*blocks):
        path = tmp_path / "flow.json"
        path.write_text(json.dumps(flow(*blocks)))
        return path

    return write


CREATE = devin("create", "create_session", prompt="Fix it")
REGISTRY = open_app(discover=False, env={}).registry


def test_a_run_is_left_to_a_worker_and_shown(sim_devin, simulator, file):
    path = file(CREATE, wait())
    run_id = sim_devin("run", path, "--detach").strip()
    assert json.loads(sim_devin("worker", "--once", "--json").splitlines()[-1]) == {"driven": 1}
    shown = json.loads(sim_devin("runs", "show", run_id[:8], "--json"))
    assert shown["state"] == "waiting"
    assert "create: done" in sim_devin("runs", "show", run_id)
    assert run_id in sim_devin("runs", "list", "--state", "waiting")
    assert sim_devin("runs", "list", "--state", "done", "--json") == ""
    assert sim_devin("runs", "cancel", run_id) == "Cancelled.\n"
    told = sim_devin("runs", "watch", run_id, "--json", code=130).splitlines()
    events = {event["event"]: event for event in map(json.loads, told)}
    assert next(iter(events)) == "run.created"
    assert list(events)[-1] == "run.cancelled"
    assert events["run.file"]["path"] == str(path)


def test_a_run_that_waits_for_its_turn_says_so(sim_devin, file, monkeypatch):
    monkeypatch.setenv("SIM_DEVIN_MAX_SESSIONS", "1")
    document = file(CREATE, wait())
    runs = [sim_devin("run", document, "--detach").strip() for _ in range(3)]
    sim_devin("worker", "--once")
    listed = sim_devin("runs", "list")
    assert listed.count("waiting (turn)") == 2
    assert listed.count("waiting (session)") == 1
    shown = [sim_devin("runs", "show", run_id) for run_id in runs]
    reason = "    1 session of this organization is in progress; the limit is 1.\n"
    assert sum(reason in text for text in shown) == 2
    assert sum("create is waiting in the queue to create a session.\n" in t for t in shown) == 1
    assert sum("in the queue to create a session, 1 ahead of it.\n" in t for t in shown) == 1


def test_a_form_is_answered_and_the_run_resumed(sim_devin, file):
    form = [{"id": "1", "name": "branch", "type": "string"}]
    end = block("end", "response", dataMode="json", data='{"to": "<ask.branch>"}')
    document = file(block("ask", "human_in_the_loop", inputFormat=form), end)
    shown = json.loads(sim_devin("run", document, "--json", "-q", code=1))
    assert shown["state"] == "asking"
    assert "runs answer" in sim_devin("runs", "show", shown["runId"])
    sim_devin("runs", "answer", shown["runId"], "branch=main")
    result = json.loads(sim_devin("run", "--resume", shown["runId"], "--json"))
    assert result["result"]["output"]["data"] == {"to": "main"}


def test_reminders_are_told_wherever_a_run_is_shown(sim_devin, file, tmp_path):
    document = file(block("ask", "human_in_the_loop", inputFormat=[{"name": "branch"}]))
    line = "ask: reminder 1: Requested: branch"
    start = ("run", document, "--remind-every", "30m")
    assert f"{line}\n" in sim_devin(*start, code=1, stream="stderr")
    assert line not in sim_devin(*start, "--answer", '{"branch": "x"}', stream="stderr")
    run_id = sim_devin(*start, "--detach").strip()
    assert f"{run_id}: {line}" in sim_devin("worker", "--once", stream="stderr")
    assert "    Reminded once; next reminder at 20" in sim_devin("runs", "show", run_id)
    sim_devin("runs", "cancel", run_id)
    assert f"  {line}\n" in sim_devin("runs", "watch", run_id, code=130)
    events = sim_devin("runs", "watch", run_id, "--json", code=130).splitlines()
    (told,) = [event for event in map(json.loads, events) if event["event"] == "run.reminder"]
    assert (told["runId"], told["reminders"], told["deadline"]) == (run_id, 1, None)


def test_a_worker_with_reminders_that_cannot_be_does_not_begin(sim_devin, file, tmp_path):
    (tmp_path / "none" / "config.toml").write_text('[reminders]\nevery = "soon"\n')
    run_id = sim_devin("run", file(CREATE), "--detach").strip()
    assert 'Write every = "30m"' in sim_devin("worker", "--once", code=2, stream="stderr")
    assert json.loads(sim_devin("runs", "show", run_id, "--json"))["state"] == "ready"
    served = sim_devin("serve", "--no-open", "--port", 0, tmp_path, code=2, stream="stderr")
    assert 'Write every = "30m"' in served
    document = file(block("ask", "human_in_the_loop", inputFormat=[{"name": "branch"}]))
    warned = sim_devin("run", document, code=1, stream="stderr")
    assert "warning: no reminder is sent from here: " in warned


@pytest.fixture
def held(tmp_path, file):
    """Return the file of a workflow whose create waits for a yes."""
    (tmp_path / "none" / "config.toml").write_text('[policy]\nconfirm = ["costs-money"]\n')
    return file(devin("create", "create_session", prompt="Fix it"))


def test_a_held_call_is_shown_and_approved(sim_devin, simulator, held):
    run_id = json.loads(sim_devin("run", held, "--json", "-q", code=1))["runId"]
    assert simulator.truth() == []
    shown = sim_devin("runs", "show", run_id)
    assert "create is waiting for your approval." in shown
    assert "(devin_create_session)? It costs money." in shown
    assert "    prompt: Fix it\n" in shown
    assert f"sim-devin runs answer {run_id} --context create --approve, or --decline" in shown
    sim_devin("runs", "answer", run_id, "--approve", "--because", "it is time")
    sim_devin("run", "--resume", run_id)
    assert "create: approved it is time" in sim_devin("runs", "watch", run_id)
    assert len(simulator.truth()) == 1


def test_a_held_call_is_declined(sim_devin, simulator, held):
    run_id = json.loads(sim_devin("run", held, "--json", "-q", code=1))["runId"]
    sim_devin("runs", "answer", run_id, "--decline", "--because", "too dear")
    assert "a person declined: too dear" in sim_devin("run", "--resume", run_id, code=1)
    assert simulator.truth() == []


@pytest.mark.parametrize(
    "flags",
    [
        ("--approve", "--decline"),
        ("--approve", "text"),
        ("--decline", "--json-answer", "{}"),
        ("--because", "x"),
    ],
)
def test_an_answer_is_one(sim_devin, held, flags):
    run_id = json.loads(sim_devin("run", held, "--json", "-q", code=1))["runId"]
    sim_devin("runs", "answer", run_id, *flags, code=2)
    assert json.loads(sim_devin("runs", "show", run_id, "--json"))["state"] == "asking"


def test_run_takes_the_answer_beforehand(sim_devin, simulator, held):
    sim_devin("run", held, "-q", "--answer", '{"approved": true}')
    assert len(simulator.truth()) == 1


def test_what_is_uncertain_says_how_to_go_on(sim_devin, simulator, file):
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    shown = json.loads(sim_devin("run", file(CREATE), "--json", "-q", code=1))
    assert shown["state"] == "uncertain"
    assert "repeat" in sim_devin("runs", "show", shown["runId"])
    sim_devin("runs", "answer", shown["runId"], "repeat=true")
    assert "is done" in sim_devin("runs", "resume", shown["runId"])
    assert len(simulator.truth()) == 1
    assert sim_devin("runs", "prune", "--older-than", "1d") == "Deleted 0 runs.\n"


def test_a_watched_run_is_shown_to_its_end_however_long_it_was(sim_devin, file, tmp_path):
    path = file(block("end", "response"))
    run_id = sim_devin("run", path, "--detach").strip()
    with closing(open_store(tmp_path / "runs.sqlite")) as store, store.database.write():
        for number in range(1500):
            store.add_event(EventRecord(run_id, float(number), "block.waiting", {"blockId": "x"}))
    sim_devin("worker", "--once")
    events = [
        json.loads(line) for line in sim_devin("runs", "watch", run_id, "--json").splitlines()
    ]
    assert len(events) > 1500
    assert events[-1]["event"] == "run.done"


def test_an_unknown_run_is_a_mistake_of_the_caller(sim_devin):
    sim_devin("runs", "show", "nothing", code=2)
    sim_devin("run", code=2)


def test_a_run_can_be_read_block_by_block_with_its_totals():
    from sim_devin.cli.commands.runs_report import lines

    run = {
        "runId": "r",
        "state": "done",
        "error": None,
        "waits": [],
        "startedAt": 100.0,
        "endedAt": 160.0,
        "result": {"output": {}},
        "blocks": [
            {
                "blockName": "Create",
                "success": True,
                "durationMs": 1000,
                "input": {"prompt": "p"},
                "output": {"sessionId": "a", "acusConsumed": 0.0},
            },
            {
                "blockName": "Wait",
                "success": True,
                "durationMs": 59000,
                "output": {"sessionId": "a", "acusConsumed": 1.5},
            },
            {"blockName": "Report", "success": False, "durationMs": 0, "error": "no", "output": {}},
        ],
    }
    short = list(lines(run, REGISTRY))
    assert "  Wait: done, 59.0 s, 1.5 ACUs so far" in short
    assert "  Report: failed: no, 0.0 s" in short
    assert "  Total: 3 blocks, 1 failed, 60.0 s, 1.5 ACUs in 1 session" in short
    full = "\n".join(lines(run, REGISTRY, full=True))
    assert '"prompt": "p"' in full
    assert "prompt" not in "\n".join(short)
