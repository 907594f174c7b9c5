"""Jobs of another service, of which the spec files in tests/render_farm say all there is to know.

They are created, waited for, answered, ended and budgeted as Devin's sessions are, and never twice.
"""

from contextlib import suppress

import pytest

import sim_devin
from sim_devin.calls.intents import Settle
from sim_devin.errors import NotAllowed, UncertainResult
from sim_devin.policy.rules import Policy
from sim_devin.simulator import SimClock
from sim_devin.store.sql_store import SqlStore
from sim_devin.testing import assert_block_conforms, assert_job_conforms, assert_tool_conforms
from tests.durable.flows import block, flow
from tests.durable.test_crashes import Killed, Life, MortalFile, MortalTransport
from tests.render_farm import CREDENTIALS, FOLDER, RenderFarm, broken

FIELDS = {"farmToken": "{{FARM_TOKEN}}", "studio": "lantern"}


@pytest.fixture
def farm():
    return RenderFarm(SimClock(speed=0))


@pytest.fixture
def open_app(store, farm):
    """Return a function that opens an app over the store, as a new process would."""

    def open_one(**options):
        options = {"store": store, "transport": farm, **options}
        return sim_devin.open_app(
            clock=farm.clock,
            specs=[FOLDER],
            discover=False,
            strict=True,
            env={"FARM_TOKEN": CREDENTIALS["farmToken"]},
            credentials=CREDENTIALS,
            settle=options.pop("settle", Settle(grace=30.0)),
            **options,
        )

    return open_one


@pytest.fixture
def app(open_app):
    return open_app()


def order(id="order", scene="A boat.", **values):
    return block(id, "farm", operation="order", scene=scene, **FIELDS, **values)


def say(id="say", of="order", note="Blue."):
    return block(id, "farm", operation="say", order=f"<{of}.order>", note=note, **FIELDS)


def wait(id="wait", of="order", **values):
    return block(id, "farm_wait", order=f"<{of}.order>", **FIELDS, **values)


def posts(farm, ending):
    return [body for method, path, body in farm.sent if method == "POST" and path.endswith(ending)]


def orders(farm):
    return posts(farm, "/orders")


def notes(farm):
    return posts(farm, "/notes")


def outputs(app, run_id):
    return {log["blockId"]: log["output"] for log in app.runs.show(run_id)["blocks"]}


def test_the_spec_files_conform(app):
    registry = app.registry
    for tool in registry.tools.values():
        if tool.id.startswith("farm_"):
            assert_tool_conforms(tool, registry)
    for job in registry.jobs.values():
        assert_job_conforms(job, registry)
    for name in ("farm", "farm_wait"):
        assert_block_conforms(registry.blocks[name], registry)


def test_a_job_is_created_and_waited_for(app, farm):
    run_id = app.runs.start(flow(order(), wait()))
    result = app.runs.follow(run_id)
    assert result.success
    assert result.output["outcome"] == "done"
    assert result.output["film"] == "https://films.example/f-1"
    assert result.output["order"] == "f-1"
    assert "sessionId" not in result.output
    assert farm.films["f-1"]["label"].startswith("sim-")
    assert app.runs.store.run(run_id).summary["sessions"] == {"done": 1}


def test_a_run_that_waits_for_a_job_is_a_row(app, farm):
    run_id = app.runs.start(flow(order(), wait()))
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "waiting"
    assert [item["session"] for item in app.runs.show(run_id)["waits"]] == ["f-1"]
    farm.clock.advance(600)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "done"


def test_many_jobs_are_asked_for_in_lists_of_as_many_as_one_takes(app, farm):
    for number in range(45):
        app.runs.start(flow(order(scene=f"Boat {number}."), wait()))
    app.runs.work(once=True)
    asked = []
    send = farm.send

    def watched(request, *, timeout):
        asked.append(request.url)
        return send(request, timeout=timeout)

    farm.send = watched
    farm.clock.advance(6)
    app.runs.work(once=True)
    assert [url.count("no=") for url in asked if "no=" in url] == [20, 20, 5]


def test_a_person_answers_what_a_job_asks(app, farm):
    run_id = app.runs.start(flow(order(scene="A boat?"), wait()), on_question="hold")
    app.runs.work(once=True)
    farm.clock.advance(600)
    app.runs.work(once=True)
    (asked,) = app.runs.show(run_id)["waits"]
    assert (asked["kind"], asked["question"]) == ("question", "Which colour?")
    assert asked["url"] == "https://farm.example/f-1"
    app.runs.answer(run_id, "Blue.")
    assert notes(farm) == [{"words": "Blue."}]
    for _ in range(3):  # what it shows is not believed at once: it may be from before the answer
        farm.clock.advance(200)
        app.runs.work(once=True)
    assert outputs(app, run_id)["wait"]["outcome"] == "done"


def test_a_wait_after_a_message_does_not_take_the_state_before_it_for_the_answer(app, farm):
    document = flow(order(scene="A boat?"), wait("first"), say(), wait("second"))
    result = app.runs.follow(app.runs.start(document))
    seen = {log.block_id: log.output for log in result.logs}
    assert (seen["first"]["outcome"], seen["second"]["outcome"]) == ("blocked_on_user", "done")


def test_the_generic_wait_waits_for_any_kind(app):
    made = [app.call("farm_order", {"scene": scene})["order"] for scene in ("A boat.", "A cat?")]
    outcomes = app.wait(made, job="farm_film")
    assert [outcome.state for outcome in outcomes] == ["done", "blocked_on_user"]
    assert app.call("farm_wait", {"order": made[0]})["outcome"] == "done"


# -- never twice -----------------------------------------------------------------------------------

TROUBLE = [(True, broken()), (True, 500), (True, 429), (True, 503), (False, 429), (False, broken())]
NAMES = [f"{'done' if done else 'not done'}, {end}" for done, end in TROUBLE]


@pytest.mark.parametrize("trouble", TROUBLE, ids=NAMES)
def test_a_create_that_gets_no_answer_is_looked_for_by_its_label(open_app, farm, trouble):
    farm.trouble = [trouble]
    app = open_app(settle=Settle(grace=30.0, policy="retry"))
    result = app.runs.follow(app.runs.start(flow(order(), wait())))
    assert result.success
    assert len(farm.films) == 1


@pytest.mark.parametrize("trouble", TROUBLE, ids=NAMES)
def test_a_message_that_gets_no_answer_is_looked_for_among_the_messages(open_app, farm, trouble):
    farm.trouble = [(True, None), trouble]
    app = open_app(settle=Settle(grace=30.0, policy="retry"))
    document = flow(order(scene="A boat?"), wait("first"), say(), wait("second"))
    assert app.runs.follow(app.runs.start(document)).success
    assert [note["words"] for note in farm.films["f-1"]["notes"]] == ["Which colour?", "Blue."]


def test_a_call_alone_is_never_twice_either(open_app, farm):
    farm.trouble = [(True, broken())]
    made = open_app().call("farm_order", {"scene": "A boat."}, reconcile=True)
    assert made["order"] == "f-1"
    assert len(orders(farm)) == 1


def test_a_label_of_ones_own_stays_and_an_ambiguous_end_is_left_to_a_person(open_app, farm):
    farm.trouble = [(True, broken())]
    with pytest.raises(UncertainResult, match=r"whether a film was created.*label is set already"):
        open_app().call("farm_order", {"scene": "A boat.", "label": "mine"}, reconcile=True)
    assert [film["label"] for film in farm.films.values()] == ["mine"]


def test_a_double_is_ended(open_app, farm):
    """Carried out so late that the create was given up, and sent once more."""
    farm.trouble = [(False, broken())]
    app = open_app(settle=Settle(grace=30.0, policy="retry"))
    run_id = app.runs.start(flow(order()))
    app.runs.follow(run_id)
    first = orders(farm)[0]
    assert len(orders(farm)) == 2
    farm._change(type("R", (), {"method": "POST", "json": first}), {"no": None, "notes": None})
    farm.clock.advance(120)
    app.runs.work(once=True)
    assert [film["stage"] == "DROPPED" for film in farm.films.values()] == [False, True]
    assert any("duplicate film f-2 was ended" in text for text in app.runs.show(run_id)["warnings"])


def test_whenever_the_process_dies_there_is_one_job_and_one_message(store, open_app, farm):
    """Before and after each write and each request: at every seventh of these points."""
    document = flow(order(scene="A boat?"), wait("first"), say(), wait("second"))
    settle = Settle(grace=30.0, policy="retry")
    successor = open_app(settle=settle)
    points = range(0, 400, 7)
    for point in points:
        run_id, life = successor.runs.start(document), Life(point)
        mortal = SqlStore(MortalFile(store.database, life))
        app = open_app(store=mortal, transport=MortalTransport(farm, life), settle=settle)
        with suppress(Killed):
            app.runs.follow(run_id)
        with store.database.write() as connection:  # as if the time of its lease had passed
            connection.execute("UPDATE runs SET lease_until = 0")
            connection.execute("UPDATE leases SET until = 0")
        successor.runs.follow(run_id)
        assert successor.runs.show(run_id)["state"] == "done", point
        if not life.over:
            break
    assert not life.over
    assert point > 20
    assert len(farm.films) == points.index(point) + 1
    assert {len(film["notes"]) for film in farm.films.values()} == {2}


# -- what it may cost, and how long it may take ----------------------------------------------------


def test_a_runs_ceiling_is_the_cap_of_its_jobs(app, farm):
    document = flow(order("one", credits="5"), order("two", credits="5"))
    result = app.runs.follow(app.runs.start(document, max_acu=7))
    assert result.success
    assert [body["budget"] for body in orders(farm)] == [5, 2]


def test_a_ceiling_caps_a_job_that_has_no_cap(open_app, farm):
    app = open_app(policy=Policy(acu_per_call=3))
    app.runs.follow(app.runs.start(flow(order())))
    assert orders(farm)[0]["budget"] == 3


def test_the_ceilings_of_a_day_count_jobs_of_every_kind(open_app, farm):
    app = open_app(policy=Policy(acu_per_day=8, sessions_per_day=2))
    assert app.runs.follow(app.runs.start(flow(order(credits="5")))).success
    app.call("farm_order", {"scene": "A cat."})
    assert [body["budget"] for body in orders(farm)] == [5, 3]
    with pytest.raises(NotAllowed, match="sessions of this day"):
        app.call("farm_order", {"scene": "A dog.", "credits": 1})


def test_what_a_job_did_not_use_comes_back(app, farm, store):
    run_id = app.runs.start(flow(order(credits="5"), wait()), max_acu=6)
    app.runs.follow(run_id)
    farm.clock.advance(70)
    app.runs.work(once=True)
    farm.clock.advance(400)
    app.runs.work(once=True)
    rows = store.database.read("SELECT reserved, settled FROM spend WHERE ceiling = 'maxAcuLimit'")
    assert [(row["reserved"], row["settled"]) for row in rows] == [(5, 2)]


def test_a_job_that_takes_too_long_is_ended(open_app, farm):
    app = open_app(policy=Policy(minutes_per_session=1))
    run_id = app.runs.start(flow(order(), wait()))
    app.runs.work(once=True)
    farm.clock.advance(61)
    app.runs.work(once=True)
    app.runs.work(once=True)
    assert farm.films["f-1"]["stage"] == "DROPPED"
    assert outputs(app, run_id)["wait"]["outcome"] == "ended"


def test_jobs_of_one_kind_queue_apart_from_those_of_another(open_app, farm):
    app = open_app()
    assert app.runs.follow(app.runs.start(flow(order()))).success
    places = {session.place for session in app.runs.store.sessions_of(app.runs.store.runs()[0].id)}
    assert places == {"https://farm.example/v7/studios/lantern/orders"}
