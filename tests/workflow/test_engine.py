import itertools
import json
import threading
import time

import pytest

from sim_devin.clock import ManualClock, RealClock
from sim_devin.engine import engine, events
from sim_devin.engine.contract import BlockError, Sleep, handler
from sim_devin.errors import (
    AmbiguousResult,
    BadRequest,
    CallerError,
    InvalidWorkflow,
    MissingCredentials,
    ServerError,
    UnknownName,
)
from workflow.fakes import FakeServices, block, document, edge

START = block("start", "start_trigger", "Start")


def echo(context):
    """A handler on a worker thread that puts out its field `text`."""
    return {"text": context.values.get("text")}


@handler(inline=True)
def inline_echo(context):
    return {"text": context.values.get("text")}


def fail(context):
    raise BlockError("it broke", output={"code": 7}, hint="Mend it.")


HANDLERS = {"echo": echo, "inline": inline_echo, "fail": fail}


def run(blocks, edges, inputs=None, *, services=None, variables=None, **options):
    services = services or FakeServices(HANDLERS)
    options.setdefault("env", {})
    made = document([START, *blocks], edges, variables=variables)
    return engine.run(made, inputs, services=services, **options)


def names(result):
    return [log.block_name for log in result.logs]


# -- order and outputs -------------------------------------------------------------------------


def test_a_chain_hands_outputs_on_and_ends_with_the_last():
    result = run(
        [block("a", "echo", "A", text="hi <start.who>"), block("b", "echo", "B", text="<a.text>!")],
        [edge("start", "a"), edge("a", "b")],
        {"who": "you"},
    )
    assert (result.success, result.status, result.error) == (True, None, None)
    assert result.output == {"text": "hi you!"}
    assert result.block_outputs["a"] == {"text": "hi you"}
    assert [log.execution_order for log in result.logs] == [1, 2, 3]


def test_blocks_that_are_ready_together_do_not_see_each_other():
    result = run(
        [block("a", "inline", "A", text="a"), block("b", "inline", "B", text="[<a.text>]")],
        [edge("start", "a"), edge("start", "b")],
    )
    assert result.block_outputs["b"] == {"text": "[]"}


@pytest.mark.parametrize(
    ("returned", "output"), [(None, {}), (5, {"result": 5}), ([1], {"result": [1]}), ({}, {})]
)
def test_outputs_are_objects(returned, output):
    services = FakeServices({"any": lambda context: returned})
    assert run([block("a", "any")], [edge("start", "a")], services=services).output == output


def test_a_value_wired_whole_keeps_its_type_where_the_field_is_one():
    services = FakeServices()
    result = run(
        [
            block("c", "condition", "C", conditions='[{"id":"e","title":"else","value":""}]'),
            block(
                "r",
                "response",
                "R",
                dataMode="json",
                data={"list": "<start.list>", "text": "a <start.list>"},
            ),
        ],
        [edge("start", "c"), edge("c", "r", "condition-e")],
        {"list": [1, 2]},
        services=services,
    )
    assert result.output["data"] == {"list": "[1,2]", "text": "a [1,2]"}


def test_data_is_never_scanned_for_references():
    result = run(
        [
            block("a", "echo", "A", text="<start.evil>"),
            block("b", "echo", "B", text="<a.text>"),
        ],
        [edge("start", "a"), edge("a", "b")],
        {"evil": "{{SECRET}} <start.other>", "other": "x"},
        env={"SECRET": "s3cret-value"},
    )
    assert result.output == {"text": "{{SECRET}} <start.other>"}


def test_a_join_pruned_far_upstream_is_not_lost():
    rows = json.dumps([{"id": "no", "title": "if", "value": ""}])
    result = run(
        [
            block("k", "condition", "K", conditions=rows),
            block("p", "inline", "P"),
            block("q", "inline", "Q"),
            block("i", "inline", "I", text="independent"),
            block("m", "inline", "M", text="<i.text>"),
        ],
        [
            edge("start", "i"),
            edge("start", "k"),
            edge("k", "p", "condition-no"),
            edge("p", "q"),
            edge("q", "m"),
            edge("i", "m"),
        ],
    )
    assert result.output == {"text": "independent"}
    assert "P" not in names(result)


# -- failures ------------------------------------------------------------------------------------


def test_a_failure_stops_what_follows_and_says_where_and_what_to_do():
    result = run(
        [block("a", "fail", "A"), block("b", "echo", "B")], [edge("start", "a"), edge("a", "b")]
    )
    assert not result.success
    assert (result.error, result.failed_block, result.hint) == ("A: it broke", "a", "Mend it.")
    assert result.block_outputs["a"] == {"error": "it broke", "code": 7}
    assert names(result) == ["Start", "A"]
    assert result.output == {}


def test_an_error_port_takes_the_failure():
    result = run(
        [
            block("a", "fail", "A"),
            block("b", "echo", "B"),
            block("h", "echo", "H", text="<a.error>"),
        ],
        [edge("start", "a"), edge("a", "b"), edge("a", "h", "error")],
    )
    assert result.success
    assert result.output == {"text": "it broke"}
    assert names(result) == ["Start", "A", "H"]
    assert result.logs[1].error_handled


def test_siblings_in_flight_finish_and_are_recorded():
    gate = threading.Event()

    def slow(context):
        gate.wait(5)
        return {"done": True}

    def failing(context):
        gate.set()
        raise BlockError("first")

    services = FakeServices({"slow": slow, "failing": failing, "echo": echo})
    result = run(
        [block("s", "slow", "S"), block("f", "failing", "F"), block("z", "echo", "Z")],
        [edge("start", "s"), edge("start", "f"), edge("s", "z")],
        services=services,
    )
    assert result.error == "F: first"
    assert result.block_outputs["s"] == {"done": True}
    assert "Z" not in names(result)


def test_what_a_handler_raises_is_the_failure_of_its_block():
    def broken(context):
        return 1 / 0

    result = run(
        [block("a", "broken", "A")], [edge("start", "a")], services=FakeServices({"broken": broken})
    )
    assert result.error == "A: division by zero"


def test_a_reference_to_what_a_block_does_not_put_out_names_what_there_is():
    result = run(
        [block("w", "wait", "W", timeValue="1"), block("b", "echo", "B", text="<w.wrong>")],
        [edge("start", "w"), edge("w", "b")],
    )
    assert result.error == (
        'B: "wrong" doesn\'t exist on block "w". Available fields: waitDuration, status, resumeAt'
    )


def test_a_response_locks_the_output_and_hides_later_failures():
    gate = threading.Event()

    def late(context):
        gate.wait(5)
        raise BlockError("too late")

    @handler(inline=True)
    def opens(context):
        gate.set()
        return {}

    services = FakeServices({"late": late, "opens": opens})
    answer = block("r", "response", "R", dataMode="json", data='{"ok": true}', status="201")
    result = run(
        [block("l", "late", "L"), answer, block("o", "opens", "O")],
        [edge("start", "l"), edge("start", "r"), edge("start", "o")],
        services=services,
    )
    assert result.success
    assert result.output == {
        "data": {"ok": True},
        "status": 201,
        "headers": {"Content-Type": "application/json"},
    }


# -- retries -------------------------------------------------------------------------------------


def flaky(error, times):
    left = [times]

    def attempt(context):
        if left[0]:
            left[0] -= 1
            raise error
        return {"ok": True}

    return attempt


@pytest.mark.parametrize("inline", [True, False])
def test_a_retry_policy_tries_again_after_its_wait(inline):
    clock = ManualClock(0.0)
    attempt = flaky(BadRequest("no", status=400, detail="busy"), 2)
    services = FakeServices({"flaky": handler(inline=inline)(attempt)}, clock=clock)
    retry = {"enabled": True, "maxTries": 3, "waitBetweenTriesMs": 2000}
    heard = []
    result = run(
        [block("a", "flaky", "A", _retry=retry)],
        [edge("start", "a")],
        services=services,
        on_event=heard.append,
    )
    assert result.success
    assert result.logs[1].tries == 3
    assert clock.time() == 4.0
    retried = [event for event in heard if event.kind == events.BLOCK_RETRYING]
    assert [event.data for event in retried] == [
        {"attempt": 2, "error": "busy"},
        {"attempt": 3, "error": "busy"},
    ]


def test_what_may_have_happened_is_not_tried_again():
    services = FakeServices({"flaky": flaky(AmbiguousResult("nobody knows"), 1)})
    retry = {"enabled": True, "maxTries": 5, "waitBetweenTriesMs": 0}
    result = run([block("a", "flaky", "A", _retry=retry)], [edge("start", "a")], services=services)
    assert result.error == "A: nobody knows"
    assert result.logs[1].tries == 1


# -- stopping ------------------------------------------------------------------------------------


def test_stop_after_a_block_starts_nothing_new():
    result = run(
        [block("a", "echo", "A"), block("b", "echo", "B")],
        [edge("start", "a"), edge("a", "b")],
        stop_after="a",
    )
    assert result.success
    assert names(result) == ["Start", "A"]
    assert result.output == {}


@pytest.mark.parametrize("option", ["stop_after", "from_block"])
def test_stopping_at_or_starting_from_an_unknown_block_is_refused(option):
    with pytest.raises(UnknownName):
        run([block("a", "echo", "A")], [edge("start", "a")], **{option: "b"})


def test_cancel_reaches_a_call_in_flight():
    cancel = threading.Event()

    def long(context):
        cancel.set()
        assert context.clock.wait(context.cancel, 30)
        return {"saw": "cancel"}

    services = FakeServices({"long": long, "echo": echo}, clock=RealClock())
    before = threading.active_count()
    result = run(
        [block("a", "long", "A"), block("b", "echo", "B")],
        [edge("start", "a"), edge("a", "b")],
        services=services,
        cancel=cancel,
    )
    assert (result.success, result.status, result.reason) == (False, "cancelled", "cancel")
    assert names(result) == ["Start", "A"]
    assert threading.active_count() == before


def test_a_deadline_ends_a_wait():
    clock = ManualClock()
    result = run(
        [block("w", "wait", "W", timeValue="4", timeUnit="minutes"), block("b", "echo", "B")],
        [edge("start", "w"), edge("w", "b")],
        services=FakeServices(HANDLERS, clock=clock),
        deadline=60,
    )
    assert (result.status, result.reason) == ("cancelled", "deadline")
    assert result.logs[-1].block_name == "W"
    assert result.logs[-1].ended is not None


def test_ctrl_c_stops_calls_in_flight_and_is_passed_on():
    seen = []

    def long(context):
        seen.append(context.clock.wait(context.cancel, 30))
        return {}

    def interrupt(event):
        if event.kind == events.BLOCK_WAITING:
            raise KeyboardInterrupt

    def says(context):
        context.waiting("somebody presses Ctrl-C")
        return long(context)

    services = FakeServices({"long": says}, clock=RealClock())
    with pytest.raises(KeyboardInterrupt):
        run([block("a", "long", "A")], [edge("start", "a")], services=services, on_event=interrupt)
    assert seen == [True]


def test_sleeps_hold_no_thread():
    @handler(inline=True)
    def nap(context):
        return Sleep(60, {"slept": True})

    clock = ManualClock(0.0)
    naps = [block(f"n{at}", "nap", f"N{at}") for at in range(100)]
    result = run(
        naps,
        [edge("start", nap["id"]) for nap in naps],
        services=FakeServices({"nap": nap}, clock=clock),
        workers=1,
    )
    assert result.success
    assert clock.time() == 60.0


def test_calls_at_the_same_time_are_bounded():
    lock, now, most = threading.Lock(), [0], [0]

    def busy(context):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1

    blocks = [block(f"b{at}", "busy", f"B{at}") for at in range(12)]
    run(
        blocks,
        [edge("start", item["id"]) for item in blocks],
        services=FakeServices({"busy": busy}),
        workers=3,
    )
    assert most[0] <= 3


# -- before anything runs ------------------------------------------------------------------------


def test_an_unknown_block_type_names_the_hooks_even_where_nothing_leads_there():
    with pytest.raises(InvalidWorkflow, match="unknown block type 'slack'") as caught:
        run([block("s", "slack", "Slack")], [])
    assert "sim_devin_handlers" in str(caught.value)


def test_everything_that_is_missing_is_listed_before_anything_runs():
    services = FakeServices()
    with pytest.raises(InvalidWorkflow) as caught:
        run(
            [block("e", "evaluator", "Judge"), block("r", "router_v2", "Way", context="x")],
            [edge("start", "e")],
            services=services,
        )
    assert caught.value.problems == [
        "Judge is missing required fields: Metrics, Content, Model",
        "Way is missing required fields: Model",
    ]


def test_a_credential_that_names_a_variable_not_set_is_refused_by_name():
    services = FakeServices({"secretive": echo})
    with pytest.raises(MissingCredentials, match=r"S\.apiKey needs the variable NOPE"):
        run(
            [block("s", "secretive", "S", apiKey="{{NOPE}}")],
            [edge("start", "s")],
            services=services,
        )


@pytest.mark.parametrize("trigger", ["webhook", "elsewhere"])
def test_a_run_needs_a_start_block_of_its_kind(trigger):
    with pytest.raises(InvalidWorkflow):
        run([], [], trigger=trigger)


# -- ceilings ------------------------------------------------------------------------------------


def creates(*limits):
    blocks = [
        block(f"c{at}", "create", f"C{at}", **({} if limit is None else {"maxAcuLimit": limit}))
        for at, limit in enumerate(limits)
    ]
    ids = ["start", *(item["id"] for item in blocks)]
    return blocks, [edge(a, b) for a, b in itertools.pairwise(ids)]


def ceilings_of(services):
    return [ceilings for _, _, ceilings in services.calls]


def tool_services(tool):
    def calls(context):
        return context.call_tool(*context.plan())

    return FakeServices({"create": calls}, {"create": tool})


def test_the_runs_ceiling_is_shared_out_and_never_passed():
    services = tool_services(lambda params: {"id": 1})
    result = run(*creates(4, "3", None, 1), services=services, ceilings={"maxAcuLimit": 10})
    assert ceilings_of(services) == [
        {"maxAcuLimit": 4.0},
        {"maxAcuLimit": 3.0},
        {"maxAcuLimit": 3.0},
    ]
    assert result.error == "C3: the run's ceiling of 10 for maxAcuLimit is used up"


@pytest.mark.parametrize(
    ("error", "given_back"), [(BadRequest("no"), True), (ServerError("?"), False)]
)
def test_only_a_call_that_surely_did_nothing_gives_its_share_back(error, given_back):
    def tool(params):
        raise error

    services = tool_services(tool)
    blocks, edges = creates(10, 1)
    edges[1]["sourceHandle"] = "error"
    result = run(blocks, edges, services=services, ceilings={"maxAcuLimit": 10})
    assert len(services.calls) == (2 if given_back else 1)
    assert not result.success


# -- children ------------------------------------------------------------------------------------


def child(*blocks, edges=()):
    return document([START, *blocks], edges, name="Child")


def test_a_child_workflow_gets_the_mapping_and_gives_its_output():
    kid = child(block("c", "echo", "C", text="got <start.task>"), edges=[edge("start", "c")])
    result = run(
        [block("w", "workflow_input", "W", workflowId="kid", inputMapping='{"task": "<start.q>"}')],
        [edge("start", "w")],
        {"q": "this"},
        children={"kid": kid},
    )
    assert result.output["result"] == {"text": "got this"}
    assert result.output["childWorkflowName"] == "Child"


def test_a_failing_child_fails_its_block_with_the_childs_log():
    kid = child(block("c", "fail", "C"), edges=[edge("start", "c")])
    result = run(
        [block("w", "workflow_input", "W", workflowId="kid")],
        [edge("start", "w")],
        children=lambda workflow_id: kid,
    )
    assert result.error == 'W: "Child" failed: C: it broke'
    assert [log.block_name for log in result.logs[-1].child_logs] == ["Start", "C"]


def test_a_childs_events_are_told_in_the_thread_that_drives():
    kid = child(block("c", "echo", "C"), edges=[edge("start", "c")])
    threads, heard = set(), []

    def listen(event):
        threads.add(threading.current_thread())
        heard.append((event.run_id, event.kind))

    run(
        [block("w", "workflow_input", "W", workflowId="kid")],
        [edge("start", "w")],
        children={"kid": kid},
        run_id="r",
        on_event=listen,
    )
    assert threads == {threading.current_thread()}
    assert ("r.kid", events.RUN_FINISHED) in heard
    assert heard[-1] == ("r", events.RUN_FINISHED)


def test_what_still_waits_for_a_thread_does_not_start_after_a_cancel():
    cancel, ran = threading.Event(), []

    def long(context):
        ran.append(context.block.id)
        cancel.set()
        context.clock.wait(context.cancel, 30)

    blocks = [block(f"b{at}", "long", f"B{at}") for at in range(5)]
    run(
        blocks,
        [edge("start", item["id"]) for item in blocks],
        services=FakeServices({"long": long}, clock=RealClock()),
        cancel=cancel,
        workers=1,
    )
    assert ran == ["b0"]


def test_children_that_call_themselves_end_at_a_depth():
    kid = child(block("c", "workflow_input", "C", workflowId="kid"), edges=[edge("start", "c")])
    result = run(
        [block("w", "workflow_input", "W", workflowId="kid")],
        [edge("start", "w")],
        children={"kid": kid},
    )
    assert "nested deeper than 25" in result.error


@pytest.mark.parametrize("chosen", [None, "unknown"])
def test_a_child_that_is_not_there_is_a_clear_error(chosen):
    result = run([block("w", "workflow_input", "W", workflowId=chosen)], [edge("start", "w")])
    assert not result.success
    assert result.hint


# -- running again from a block ------------------------------------------------------------------


def counting():
    counts = {}

    @handler(inline=True)
    def count(context):
        counts[context.block.id] = counts.get(context.block.id, 0) + 1
        return {"n": counts[context.block.id], "saw": context.values.get("text")}

    return counts, FakeServices({"count": count})


CHAIN = (
    [
        block("a", "count", "A"),
        block("b", "count", "B", text="<a.n>"),
        block("loop", "loop", "L", container={"loopType": "for", "count": 2}),
        block("i", "count", "I", parent="loop", text="<b.n>"),
        block("c", "count", "C", text="<l.results>"),
    ],
    [
        edge("start", "a"),
        edge("a", "b"),
        edge("b", "loop"),
        edge("loop", "i", "loop-start-source"),
        edge("loop", "c", "loop-end-source"),
    ],
)


@pytest.mark.parametrize(
    ("first", "again"),
    [("b", {"a": 1, "b": 2, "i": 4, "c": 2}), ("loop", {"a": 1, "b": 1, "i": 4, "c": 2})],
)
def test_run_from_block_runs_it_and_what_follows_on_earlier_outputs(first, again):
    counts, services = counting()
    before = run(*CHAIN, services=services)
    result = run(*CHAIN, services=services, from_block=first, snapshot=before.snapshot)
    assert result.success
    assert counts == again
    assert result.block_outputs["a"] == {"n": 1, "saw": None}
    assert "Start" not in names(result)


@pytest.mark.parametrize("first", ["i", "b"])
def test_run_from_block_refuses_what_it_cannot_do(first):
    _, services = counting()
    with pytest.raises(CallerError):
        run(*CHAIN, services=services, from_block=first)


# -- logs and events -----------------------------------------------------------------------------


def test_events_tell_the_run_in_order_and_as_json():
    heard = []
    run(
        [block("a", "echo", "A", text="x"), block("b", "fail", "B")],
        [edge("start", "a"), edge("a", "b")],
        on_event=heard.append,
    )
    assert [event.kind for event in heard] == [
        events.RUN_STARTED,
        *([events.BLOCK_STARTED, events.BLOCK_FINISHED] * 2),
        events.BLOCK_STARTED,
        events.BLOCK_FAILED,
        events.RUN_FAILED,
    ]
    failed = json.loads(json.dumps(heard[-2].to_json()))
    assert failed["event"] == "block.failed"
    assert (failed["blockName"], failed["error"]) == ("B", "it broke")
    assert heard[-1].to_json()["error"] == "B: it broke"


def test_a_listener_that_raises_does_not_disturb_the_run(caplog):
    def broken(event):
        raise ValueError("listener")

    assert run([block("a", "echo", "A")], [edge("start", "a")], on_event=broken).success
    assert "a listener of run" in caplog.text


def test_secrets_are_masked_in_logs_by_where_they_came_from_and_by_value():
    result = run(
        [
            block("s", "secretive", "S", apiKey="{{TEST_API_KEY}}", text="{{TEST_API_KEY}}!"),
            block("e", "echo", "E", text="<s.text>"),
        ],
        [edge("start", "s"), edge("s", "e")],
        services=FakeServices({"secretive": echo, "echo": echo}),
        env={"TEST_API_KEY": "made-up-secret"},
    )
    assert result.output == {"text": "made-up-secret!"}
    log = result.logs[1]
    assert log.input == {"apiKey": "***", "text": "{{TEST_API_KEY}}!"}
    assert log.output == {"text": "***!"}
    assert result.logs[2].input == {"text": "***!"}
    assert "made-up-secret" not in json.dumps([item.to_json() for item in result.logs])


def test_a_secret_in_an_error_is_masked():
    def leaks(context):
        raise BlockError(f"refused {context.values['apiKey']}")

    result = run(
        [block("s", "secretive", "S", apiKey="{{TEST_API_KEY}}")],
        [edge("start", "s")],
        services=FakeServices({"secretive": leaks}),
        env={"TEST_API_KEY": "made-up-secret"},
    )
    assert result.error == "S: refused ***"
    assert result.block_outputs["s"] == {"error": "refused ***"}


def test_the_log_is_bounded():
    result = run(
        [
            block("loop", "loop", "L", container={"loopType": "for", "count": 500}),
            block("i", "inline", "I", parent="loop", text="<loop.index>"),
        ],
        [edge("start", "loop"), edge("loop", "i", "loop-start-source")],
        max_logs=100,
    )
    assert len(result.logs) <= 113
    assert len(result.logs) + result.dropped_logs == 502
    assert result.logs[-1].block_name == "L"
