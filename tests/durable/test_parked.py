"""Parked runs: rows that one process looks after with few calls, however many there are."""

from tests.durable.flows import flow, wait

ORG = "org-simulated"
MANY = 310  # two full list calls and a third


def calls(simulator):
    """Return how many calls of each kind the service has had, and forget them."""
    paths = [entry.path for entry in simulator.log]
    simulator.log.clear()
    lists = sum(path.endswith("/sessions") for path in paths)
    return {"list": lists, "others": len(paths) - lists}


def park(app, simulator, count):
    """Start runs that wait for sessions which are under way; return the runs' ids."""
    ids = [
        simulator.add_session(ORG, "Fix it", scenario="finish", created_at=app.clock.time())
        for _ in range(count)
    ]
    runs = [app.runs.start(flow(wait(sessionId=session))) for session in ids]
    app.runs.work(once=True)
    return runs


def test_a_fresh_process_looks_after_all_of_them_and_wakes_all_at_once(open_app, simulator):
    runs = park(open_app(), simulator, MANY)
    fresh = open_app()
    simulator.log.clear()
    simulator.clock.advance(30)
    fresh.runs.work(once=True)
    assert calls(simulator) == {"list": 3, "others": 0}
    assert fresh.runs.store.count(("waiting",)) == MANY
    simulator.clock.advance(3600)  # all of them finish meanwhile
    open_app().runs.work(once=True)
    assert calls(simulator)["list"] == 3
    assert {fresh.runs.show(run)["state"] for run in runs} == {"done"}


def test_as_long_as_nothing_is_due_nobody_is_asked(open_app, simulator):
    park(open_app(), simulator, 3)
    simulator.log.clear()
    for _ in range(5):
        open_app().runs.work(once=True)
    assert calls(simulator) == {"list": 0, "others": 0}
