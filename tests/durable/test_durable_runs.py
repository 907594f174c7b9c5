"""Durable runs: the whole way, with whatever they wait for."""

import itertools
import json
import threading

import pytest

import sim_devin
from sim_devin.errors import CallerError, InvalidWorkflow, UnknownName
from sim_devin.simulator.faults import Fault
from sim_devin.store.sql_store import open_store
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, loop, wait


def start(app, *blocks, edges=None, inputs=None, **options):
    return app.runs.start(flow(*blocks, edges=edges), inputs, env=ENV, **options)


CREATE = devin("create", "create_session", prompt="Fix it")


def outputs(app, run_id):
    return {log["blockId"]: log.get("output") for log in app.runs.show(run_id)["blocks"]}


def test_a_run_creates_waits_and_tells_a_session_something(app, simulator):
    run_id = start(
        app,
        CREATE,
        wait(),
        devin(
            "send", "send_message", sessionId="<create.sessionId>", message="<wait.outcome>, thanks"
        ),
    )
    result = app.runs.follow(run_id)
    assert result.success
    assert app.runs.show(run_id)["state"] == "done"
    (session,) = simulator.truth()
    said = [item["message"] for item in session["messages"] if item["source"] == "user"]
    assert said == ["Fix it", "done, thanks"]
    assert outputs(app, run_id)["wait"]["outcome"] == "done"


def test_half_a_character_is_kept(app):
    """JavaScript and models can cut one in two; UTF-8 has no bytes for it."""
    half = "cut \ud83d"
    done = block("done", "response", dataMode="json", data='{"text": "<start.text>"}')
    run_id = start(app, done, inputs={"text": half})
    assert app.runs.follow(run_id).success
    assert outputs(app, run_id)["done"]["data"] == {"text": half}


def test_a_waiting_run_is_a_row_that_any_process_wakes(open_app, simulator):
    first = open_app()
    run_id = start(first, CREATE, wait())
    assert first.runs.work(once=True) == 1
    assert first.runs.show(run_id)["state"] == "waiting"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("run ")]
    second = open_app()
    simulator.clock.advance(600)
    second.runs.work(once=True)
    assert second.runs.show(run_id)["state"] == "done"
    assert simulator.counts["sessions_created"] == 1


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.thorough
def test_many_waiting_runs_share_their_list_calls(app, simulator):
    runs = [start(app, CREATE, wait()) for _ in range(152)]
    app.runs.work(once=True)
    assert {run["state"] for run in app.runs.list(limit=200)} == {"waiting"}
    simulator.clock.advance(600)
    before = simulator.counts["requests"]
    app.runs.work(once=True)
    assert simulator.counts["requests"] - before <= 2 + 152  # two lists, a full look at each end
    lists = [e for e in simulator.log if e.method == "GET" and e.path.endswith("/sessions")]
    assert len(lists) == 2
    assert {app.runs.show(run_id)["state"] for run_id in runs} == {"done"}


@pytest.mark.parametrize("answer", [{"branch": "main"}, '{"branch": "main"}'])
def test_a_form_is_answered_once_and_the_run_goes_on(open_app, answer):
    app = open_app()
    form = [{"id": "1", "name": "branch", "type": "string"}]
    shown = block("shown", "response", dataMode="json", data='{"to": "<ask.branch>"}')
    run_id = start(app, block("ask", "human_in_the_loop", inputFormat=form), shown)
    app.runs.follow(run_id)
    state = app.runs.show(run_id)
    assert state["state"] == "asking"
    (asked,) = state["waits"]
    assert asked["kind"] == "human"
    other = open_app()
    other.runs.answer(run_id, answer, context_id=asked["contextId"])
    with pytest.raises(CallerError):
        other.runs.answer(run_id, {"branch": "other"})
    other.runs.follow(run_id)
    assert other.runs.show(run_id)["result"]["output"]["data"] == {"to": "main"}


def test_a_long_wait_is_a_row_and_ends_by_the_clock(app, simulator):
    run_id = start(
        app, block("nap", "wait", timeValue="90", timeUnit="seconds"), block("end", "response")
    )
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "waiting"
    simulator.clock.advance(89)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "waiting"
    simulator.clock.advance(1)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "done"
    assert outputs(app, run_id)["nap"] == {"waitDuration": 90_000, "status": "completed"}


def test_a_question_of_devin_is_shown_answered_once_and_the_wait_goes_on(open_app, simulator):
    app = open_app()
    asks = devin("create", "create_session", prompt="Fix it [scenario: asks]")
    run_id = start(app, asks, wait(), on_question="hold")
    app.runs.follow(run_id)
    state = app.runs.show(run_id)
    assert state["state"] == "asking"
    assert state["waits"][0]["question"] == "Which branch should I target?"
    simulator.faults.add(Fault("reset", method="POST", path="/messages$", commit=True))
    app.runs.answer(run_id, "main")
    open_app().runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    (session,) = simulator.truth()
    said = [item["message"] for item in session["messages"] if item["source"] == "user"]
    assert said[1:] == ["main"]


@pytest.mark.parametrize(
    ("field", "option", "state"),
    [("hold", "return", "asking"), ("return", "hold", "done"), ("", "hold", "asking")],
)
def test_a_block_may_say_what_follows_a_question(app, field, option, state):
    asks = devin("create", "create_session", prompt="Fix it [scenario: asks]")
    run_id = start(app, asks, wait(onQuestion=field), on_question=option)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == state


@pytest.mark.parametrize(
    ("default", "state", "sent"),
    [("the default one", "done", ["the default one"]), (None, "failed", [])],
)
def test_a_question_that_nobody_answers_in_time_has_a_default_or_fails(
    app, simulator, transport, default, state, sent
):
    asks = devin("create", "create_session", prompt="Fix it [scenario: asks]")
    run_id = start(
        app, asks, wait(), on_question="hold", answer_within=3600, default_answer=default
    )
    app.runs.follow(run_id)
    asked = app.runs.show(run_id)["waits"][0]
    assert asked["answerBy"] == pytest.approx(transport.clock.time() + 3600)
    transport.clock.advance(3599)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "asking"
    transport.clock.advance(1)
    app.runs.work(once=True)
    app.runs.follow(run_id)
    run = app.runs.show(run_id)
    assert run["state"] == state
    assert (run["error"] or "").endswith("Nobody answered in time.") is (default is None)
    (session,) = simulator.truth()
    said = [item["message"] for item in session["messages"] if item["source"] == "user"]
    assert said[1:] == sent


def test_a_form_that_nobody_fills_in_gets_the_default_answer(app, transport):
    form = [{"name": "approved", "type": "boolean"}]
    run_id = start(
        app,
        block("ask", "human_in_the_loop", inputFormat=form),
        answer_within=60,
        default_answer={"approved": False},
    )
    app.runs.follow(run_id)
    transport.clock.advance(60)
    app.runs.work(once=True)
    run = app.runs.show(run_id)
    assert run["state"] == "done"
    assert run["blocks"][-1]["output"]["approved"] is False


def test_a_question_ends_the_wait_unless_it_is_to_be_held(app):
    run_id = start(app, devin("create", "create_session", prompt="[scenario: asks]"), wait())
    app.runs.follow(run_id)
    assert outputs(app, run_id)["wait"]["outcome"] == "blocked_on_user"


def test_a_wait_ends_at_its_time_with_what_was_seen(app):
    run_id = start(
        app,
        devin("create", "create_session", prompt="[scenario: never-ends]"),
        wait(timeoutSeconds="120"),
    )
    app.runs.follow(run_id)
    ended = outputs(app, run_id)["wait"]
    assert (ended["outcome"], ended["timedOut"]) == ("in_flight", True)
    assert 120 <= ended["waitedSeconds"] < 200


def test_a_session_that_is_gone_fails_and_is_not_made_again(app, simulator):
    run_id = start(app, wait(of="start"), inputs={"sessionId": "devin-" + "0" * 32})
    app.runs.follow(run_id)
    assert outputs(app, run_id)["wait"]["outcome"] == "failed"
    assert simulator.counts["sessions_created"] == 0


def test_every_pass_of_a_loop_has_its_own_session_and_wait(app, simulator):
    inside = devin("create", "create_session", prompt="round <loop.index>")
    pause = wait()
    run_id = start(
        app,
        loop("rounds", 3, inside, pause),
        inside,
        pause,
        edges=[("start", "rounds"), ("rounds", "create", "loop-start-source"), ("create", "wait")],
    )
    result = app.runs.follow(run_id)
    assert result.success
    prompts = [session["messages"][0]["message"] for session in simulator.truth()]
    assert prompts == ["round 0", "round 1", "round 2"]
    names = [log["blockName"] for log in result.to_json()["logs"]]
    assert names.count("create (iteration 1)") == 1


def test_a_child_run_waits_as_a_part_of_its_parent(open_app, simulator):
    app = open_app()
    child = flow(CREATE, wait())
    run_id = start(
        app,
        block("call", "workflow", workflowId="c1"),
        block("end", "response"),
        children={"c1": child},
    )
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "waiting"
    simulator.clock.advance(600)
    other = open_app()
    other.runs.work(once=True)
    assert other.runs.show(run_id)["state"] == "done"
    assert simulator.counts["sessions_created"] == 1


def test_a_failed_run_is_resumed_at_the_block_that_failed(app, simulator):
    simulator.faults.add(Fault("status", method="POST", path="/tags$", status=400))
    tag = devin("tag", "append_session_tags", sessionId="<create.sessionId>", tags="one")
    run_id = start(app, CREATE, tag)
    assert not app.runs.follow(run_id).success
    assert app.runs.show(run_id)["state"] == "failed"
    app.runs.resume(run_id)
    assert app.runs.follow(run_id).success
    assert simulator.counts["sessions_created"] == 1


def test_a_run_keeps_the_document_it_started_with(app, tmp_path):
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(flow(block("end", "response", dataMode="json", data='{"n": 1}'))))
    run_id = app.runs.start(file, env=ENV)
    file.write_text(json.dumps(flow(block("end", "response", dataMode="json", data='{"n": 2}'))))
    assert app.runs.follow(run_id).output["data"] == {"n": 1}


def test_cancel_ends_a_parked_run_at_once(app, simulator):
    run_id = start(app, CREATE, wait())
    app.runs.work(once=True)
    assert app.runs.cancel(run_id) == "cancelled"
    simulator.clock.advance(600)
    assert app.runs.work(once=True) == 0
    with pytest.raises(CallerError):
        app.runs.cancel(run_id)


def test_a_deadline_counts_while_a_run_waits(app, simulator):
    run_id = start(app, CREATE, wait(), deadline=30)
    app.runs.work(once=True)
    simulator.clock.advance(31)
    app.runs.work(once=True)
    run = app.runs.show(run_id)
    assert (run["state"], run["error"]) == ("cancelled", "The run timed out.")


def test_a_ceiling_holds_over_all_drives_of_a_run(app, simulator):
    more = devin("more", "create_session", prompt="More")
    run_id = start(
        app,
        devin("create", "create_session", prompt="x", maxAcuLimit="3"),
        wait(),
        more,
        wait("last", "more"),
        devin("over", "create_session", prompt="No"),
        max_acu=5,
    )
    app.runs.follow(run_id)
    run = app.runs.show(run_id)
    assert run["state"] == "failed"
    assert "maxAcuLimit is used up" in run["error"]
    bodies = [json.loads(e.body) for e in simulator.log if e.path.endswith("/sessions") and e.body]
    assert [body["max_acu_limit"] for body in bodies] == [3, 2]


@pytest.fixture
def day_app(store, transport):
    """Return an app whose runs may spend 10 ACUs a day."""
    return sim_devin.open_app(
        store=store,
        transport=transport,
        clock=transport.clock,
        discover=False,
        env={**ENV, "SIM_DEVIN_MAX_ACU_DAY": "10"},
        credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
    )


def sent_caps(simulator):
    bodies = [json.loads(e.body) for e in simulator.log if e.path.endswith("/sessions") and e.body]
    return [body.get("max_acu_limit") for body in bodies]


def test_a_day_has_a_ceiling_over_all_runs_and_says_by_how_much_it_is_exceeded(
    day_app, simulator, transport
):
    first = start(day_app, devin("create", "create_session", prompt="x", maxAcuLimit="7"))
    second = start(day_app, devin("create", "create_session", prompt="y", maxAcuLimit="5"))
    day_app.runs.follow(first)
    day_app.runs.follow(second)
    assert day_app.runs.show(first)["state"] == "done"
    run = day_app.runs.show(second)
    assert run["state"] == "failed"
    assert "leaves 3, and this session could spend 5: 2 too many" in run["error"]
    assert sent_caps(simulator) == [7]
    transport.clock.advance(86_400)
    day_app.runs.follow(day_app.runs.resume(second))
    assert day_app.runs.show(second)["state"] == "done"
    assert sent_caps(simulator) == [7, 5]


def test_a_session_without_a_cap_gets_what_is_left_of_the_day(day_app, simulator):
    create = devin("create", "create_session", prompt="x", maxAcuLimit="8")
    more = devin("more", "create_session", prompt="y")
    over = devin("over", "create_session", prompt="z")
    run_id = start(day_app, create, more, over)
    day_app.runs.follow(run_id)
    assert sent_caps(simulator) == [8, 2]
    assert (
        "leaves 0, and this session could spend 1: 1 too many" in day_app.runs.show(run_id)["error"]
    )


def test_a_refused_create_gives_its_share_of_the_day_back(day_app, simulator, transport):
    create = devin("create", "create_session", prompt="x", maxAcuLimit="8")
    simulator.faults.add(Fault("status", status=403, method="POST"))
    refused = start(day_app, create)
    day_app.runs.follow(refused)
    assert day_app.runs.show(refused)["state"] == "failed"
    again = start(day_app, create)
    day_app.runs.follow(again)
    assert day_app.runs.show(again)["state"] == "done"


def test_a_fork_takes_over_what_came_before_and_does_the_rest_anew(app, simulator):
    first = start(
        app,
        devin("create", "create_session", prompt="x"),
        wait(),
        devin("more", "create_session", prompt="More"),
    )
    app.runs.follow(first)
    before = app.runs.show(first)
    second = app.runs.fork(first, "more", new_id="second")
    app.runs.follow(second)
    after = app.runs.show(second)
    assert after["state"] == "done"
    assert [block["blockId"] for block in after["blocks"]] == ["create", "wait", "more"]
    assert after["blocks"][:2] == before["blocks"][:2]
    assert after["blocks"][2]["output"] != before["blocks"][2]["output"]
    assert app.runs.show(first) == before
    prompts = [session["messages"][0]["message"] for session in simulator.truth()]
    assert sorted(prompts) == ["More", "More", "x"]


def test_a_fork_of_a_loop_runs_all_its_passes_anew(app):
    inner = block("inner", "variables")
    document = flow(
        block("before", "variables"),
        loop("again", 2, inner),
        inner,
        edges=[("start", "before"), ("before", "again"), ("again", "inner", "loop-start-source")],
    )
    first = app.runs.start(document, env=ENV)
    app.runs.follow(first)
    before = app.runs.store.outcomes(first)
    assert [outcome.block_id for outcome in before] == ["before", "inner", "inner", "again"]
    kept = app.runs.store.outcomes(app.runs.fork(first, "again"))
    assert kept == before[:1]


def test_a_container_is_recorded_as_soon_as_it_ends_and_once(app):
    inner, last = block("inner", "variables"), block("last", "variables")
    document = flow(
        loop("again", 2, inner),
        inner,
        block("ask", "human_in_the_loop", inputFormat=[{"name": "ok", "type": "boolean"}]),
        loop("more", 1, last),
        last,
        edges=[
            ("start", "again"),
            ("again", "inner", "loop-start-source"),
            ("again", "ask", "loop-end-source"),
            ("ask", "more"),
            ("more", "last", "loop-start-source"),
        ],
    )
    told = []

    def hear(event):
        if event.kind == "block.finished" and event.log.block_type == "loop":
            told.append(event.log.block_id)

    run_id = app.runs.start(document, env=ENV)
    app.runs.follow(run_id, on_event=hear)
    first = app.runs.store.outcomes(run_id)
    assert [outcome.block_id for outcome in first] == ["inner", "inner", "again"]
    assert first[-1].output == {"results": [[{}], [{}]]}
    app.clock.wait(threading.Event(), 60)
    app.runs.answer(run_id, {"ok": True})
    result = app.runs.follow(run_id, on_event=hear)
    blocks = [outcome.block_id for outcome in app.runs.store.outcomes(run_id)]
    assert blocks == ["inner", "inner", "again", "ask", "last", "more"]
    assert told == ["again", "more"]
    ended = {log.block_id: log.ended for log in result.logs}
    assert ended["again"] == first[-1].ended
    assert ended["more"] >= ended["again"] + 60


def test_a_fork_needs_a_block_of_the_workflow_itself(app):
    run_id = start(app, devin("create", "create_session", prompt="x"))
    with pytest.raises(UnknownName, match="create"):
        app.runs.fork(run_id, "creat")


def test_a_store_is_named_by_its_place(tmp_path, transport):
    options = {"transport": transport, "clock": transport.clock, "discover": False, "env": ENV}
    with sim_devin.open_app(store=tmp_path / "here.sqlite", **options) as app:
        run_id = app.runs.start(flow(block("end", "response")))
    with sim_devin.open_app(store=str(tmp_path / "here.sqlite"), **options) as app:
        assert app.runs.show(run_id)["state"] == "ready"


def test_variables_survive_being_set_aside(app):
    document = flow(
        block(
            "set",
            "variables",
            variables=[{"variableId": "v1", "variableName": "n", "type": "number", "value": "7"}],
        ),
        block("nap", "wait", timeValue="90", timeUnit="seconds"),
        block("end", "response", dataMode="json", data='{"n": <variable.n>}'),
    )
    document["variables"] = {"v1": {"id": "v1", "name": "n", "type": "number", "value": 1}}
    run_id = app.runs.start(document, env=ENV)
    assert app.runs.follow(run_id).output["data"] == {"n": 7}


def test_of_two_branches_that_set_a_variable_the_one_that_ended_last_wins_after_a_playback(
    open_app,
):
    """The later one comes first when the record is played back: it has fewer blocks before it."""

    def set_n(id, value):
        n = {"variableId": "v1", "variableName": "n", "type": "number", "value": value}
        return block(id, "variables", variables=[n])

    early = ["one", "two", "three"]
    document = flow(
        block("nap", "wait", timeValue="90", timeUnit="seconds"),
        set_n("later", "2"),
        *(block(id, "function", code="return 1") for id in early),
        set_n("sooner", "1"),
        block("ask", "human_in_the_loop", inputFormat=[{"id": "1", "name": "x", "type": "string"}]),
        block("end", "response", dataMode="json", data='{"n": <variable.n>}'),
        edges=[
            *itertools.pairwise(["start", "nap", "later", "ask", "end"]),
            *itertools.pairwise(["start", *early, "sooner", "ask"]),
        ],
    )
    document["variables"] = {"v1": {"id": "v1", "name": "n", "type": "number", "value": 0}}
    app = open_app()
    run_id = app.runs.start(document, env=ENV)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "asking"
    again = open_app()
    again.runs.answer(run_id, {"x": "yes"})
    assert again.runs.follow(run_id).output["data"] == {"n": 2}


@pytest.mark.parametrize("secret", ["cog_live_secret_1", "s3cr3t"])
def test_no_secret_is_stored_and_another_process_finds_it_by_name(
    open_app, tmp_path, simulator, secret
):
    file = tmp_path / "own.sqlite"
    store = open_store(file)
    app = open_app(store=store)
    echo = devin("create", "create_session", prompt="Use {{MY_TOKEN}} <start.word>")
    echo["subBlocks"]["apiKey"]["value"] = "{{MY_API_KEY}}"
    pause = wait()
    pause["subBlocks"]["apiKey"]["value"] = "cog_literal_key_9"
    env = {"MY_TOKEN": secret, "MY_API_KEY": "cog_other_key_99"}
    run_id = app.runs.start(flow(echo, pause), {"word": secret}, env=env)
    app.runs.work(once=True)
    stored = file.read_bytes() + (tmp_path / "own.sqlite-wal").read_bytes()
    for value in (secret, "cog_other_key_99", "cog_literal_key_9", "cog_simulated_key"):
        assert value.encode() not in stored
    simulator.clock.advance(600)
    other = open_app(store=store)
    other.runs.work(once=True)
    assert other.runs.show(run_id)["state"] in ("held", "waiting")
    other.runs.resume(run_id, env=env, bindings={"wait.apiKey": "cog_literal_key_9"})
    other.runs.work(once=True)
    assert other.runs.show(run_id)["state"] == "done"
    store.close()


def test_an_impossible_workflow_is_refused_before_it_is_recorded(app):
    with pytest.raises(InvalidWorkflow):
        app.runs.start(flow(block("odd", "no_such_block")), env=ENV)
    assert app.runs.list() == []


def test_runs_are_found_by_the_beginning_of_their_id(app):
    run_id = start(app, CREATE, run_id="abcdef-1")
    assert app.runs.show("abcd")["runId"] == run_id
    with pytest.raises(UnknownName):
        app.runs.show("zzzz")


def test_events_are_told_once_however_often_a_run_is_driven(app):
    told = []
    run_id = start(app, CREATE, wait(), block("end", "response"))
    app.runs.follow(
        run_id, on_event=lambda event: told.append((event.kind, event.log and event.log.block_id))
    )
    assert told.count(("block.finished", "create")) == 1
    assert told.count(("run.started", None)) == 1
    assert told[-1] == ("run.finished", None)
    kinds = [event.kind for event in app.runs.events(run_id)]
    assert kinds[0] == "run.created"
    assert kinds[-1] == "run.done"


def test_ended_runs_can_be_forgotten(app, simulator):
    run_id = start(app, CREATE)
    app.runs.follow(run_id)
    assert app.runs.prune(simulator.clock.time() - 10) == 0
    assert app.runs.prune(simulator.clock.time() + 10) == 1
    assert app.runs.list() == []


def test_a_resumed_run_still_waits_for_what_its_other_branch_waited_for(app, simulator):
    simulator.faults.add(Fault("status", method="POST", path="/tags$", status=400))
    tag = devin("tag", "append_session_tags", sessionId="<create.sessionId>", tags="one")
    run_id = start(
        app,
        CREATE,
        wait(),
        block("nap", "wait", timeValue="3", timeUnit="seconds"),
        tag,
        edges=[("start", "create"), ("create", "wait"), ("create", "nap"), ("nap", "tag")],
    )
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "failed"
    app.runs.resume(run_id)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "waiting"
    simulator.clock.advance(600)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "done"
    assert outputs(app, run_id)["wait"]["outcome"] == "done"


def test_a_run_that_cannot_be_driven_is_held_and_the_others_go_on(app):
    bad = start(app, CREATE, stop_after="nowhere")
    good = start(app, CREATE)
    app.runs.work(once=True)
    assert app.runs.show(bad)["state"] == "held"
    assert "nowhere" in app.runs.show(bad)["error"]
    assert app.runs.show(good)["state"] == "done"


def test_a_variable_is_kept_out_of_the_store_if_it_is_said_to_be_secret(open_app, store):
    env = {**ENV, "NOBODY_KNOWS": "rose-garden-77"}
    create = devin("create", "create_session", prompt="Say {{NOBODY_KNOWS}}")
    run_id = open_app().runs.start(flow(create), env=env, secret_names=["NOBODY_KNOWS"])
    app = open_app()
    app.runs.resume(run_id, env=env)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    assert "rose-garden-77" not in repr(app.runs.show(run_id))
    for table in ("runs", "blocks", "documents", "events", "waits"):
        rows = [tuple(dict(row).values()) for row in store.database.read(f"SELECT * FROM {table}")]
        assert "rose-garden-77" not in repr(rows)


def test_a_key_that_is_not_known_holds_the_run_until_it_is(open_app):
    app = open_app()
    document = flow(devin("create", "create_session", prompt="{{PLACE}}"))
    document["blocks"]["create"]["subBlocks"]["apiKey"]["value"] = "{{OTHER_API_KEY}}"
    env = {"PLACE": "here", "OTHER_API_KEY": "cog_other_key_99"}
    run_id = app.runs.start(document, env=env)
    other = open_app()
    other.runs.work(once=True)
    held = other.runs.show(run_id)
    assert held["state"] == "held"
    assert "OTHER_API_KEY" in held["error"]
    app.runs.resume(run_id)
    assert app.runs.follow(run_id).success


def test_a_plain_run_in_a_store_leaves_no_secret_there_either(open_app, tmp_path):
    store = open_store(tmp_path / "plain.sqlite")
    app = open_app(store=store)
    form = [{"id": "1", "name": "ok", "type": "string"}]
    end = block("end", "response", dataMode="json", data='{"word": "<start.word>"}')
    document = flow(block("ask", "human_in_the_loop", inputFormat=form), end)
    env = {"MY_TOKEN": "very-secret-word"}
    result = app.run(document, {"word": "very-secret-word"}, env=env)
    assert b"very-secret-word" not in (tmp_path / "plain.sqlite-wal").read_bytes()
    again = open_app(store=store).resume(result.run_id, {"ok": "yes"}, env=env)
    assert again.output["data"] == {"word": "very-secret-word"}
    store.close()
