"""What holds whatever brings runs to the processes that drive them: the carrier may be wrong.

The same suite goes over each carrier, and over one that hands out late, twice, to several at once,
or never, and takes the living for dead.
"""

import threading
from collections import Counter

import pytest

from sim_devin.calls.intents import Settle
from sim_devin.runs.carrier import SWEEP
from sim_devin.runs.opening import carrier_of
from sim_devin.runs.runs import Runs
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, wait

TTL = 20.0
RETRY = Settle(grace=30.0, policy="retry")


class Board:
    """What a wrong carrier tells all its processes: every run that was ever put."""

    def __init__(self):
        self.lock = threading.Lock()
        self.put = []
        self.offered = Counter()
        self.malice = 4  # wrong offers of a run; for ever, nobody could get anything done

    def may_offer(self, run_id):
        with self.lock:
            self.offered[run_id] += 1
            return self.offered[run_id] <= self.malice


class Wrapped:
    """The store's own carrier, to be made worse."""

    def __init__(self, store, owner, clock, board=None):
        self._own = carrier_of(store, owner, ttl=TTL, clock=clock)
        self.board = board

    def __getattr__(self, name):
        return getattr(self._own, name)

    def put(self, connection, run_ids):
        self._own.put(connection, run_ids)
        with self.board.lock:
            self.board.put += run_ids


class Never(Wrapped):
    def offers(self):
        return ()


class Late(Wrapped):
    """Offers a run when others have long been put after it."""

    def offers(self):
        with self.board.lock:
            late = self.board.put[:-2]
        return [run_id for run_id in late if self.board.may_offer(run_id)]


class Twice(Wrapped):
    """Offers every run again and again: while it is driven, while it waits, when it is over."""

    def offers(self):
        with self.board.lock:
            known = list(self.board.put)
        return [run_id for run_id in known for _ in range(2)]


class AtOnce(Twice):
    """Offers every run to every process, and takes whoever drives it for dead."""

    lies = False

    def offers(self):
        for run_id in dict.fromkeys(super().offers()):
            self.lies = self.board.may_offer(run_id)
            yield run_id
        self.lies = False

    def hold(self, run_id):
        return self._own.hold(run_id) or self.lies

    def holds(self, run_id):
        return True

    def term(self):
        term = self._own.term()
        return term._replace(longest=0.0) if self.lies else term


WRONG = {kind.__name__: kind for kind in (Never, Late, Twice, AtOnce)}


@pytest.fixture(params=["the store's own", *WRONG])
def processes(request, open_app, store):
    """Return a function that returns the runs of the store as another process sees them."""
    board = Board()
    opened = []

    def start(**options):
        app = open_app(settle=RETRY, **options)
        if request.param in WRONG:
            kind = WRONG[request.param]
            runs = Runs(app, store, carry=lambda mine, name: kind(mine, name, app.clock, board))
        else:
            runs = app.runs
        opened.append(runs)
        return runs

    yield start
    for runs in opened:
        runs.close()


def document(number):
    return flow(
        devin("create", "create_session", prompt=f"Fix {number}"),
        wait(),
        devin("send", "send_message", sessionId="<create.sessionId>", message=f"go on {number}"),
        block("nap", "wait", timeValue="2", timeUnit="minutes"),
        devin("tag", "append_session_tags", sessionId="<create.sessionId>", tags="seen"),
    )


def work_together(all_runs, ids, seconds=60):
    """Let processes work at the same time until the runs are over."""
    stop, failures = threading.Event(), []
    states = all_runs[0].store.count

    def over():
        if states(["done", "failed", "cancelled", "uncertain", "held"]) == len(ids):
            stop.set()
        return False

    def work(runs):
        try:
            runs.work(cancel=stop, each_turn=over)
        except BaseException as error:
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=work, args=(runs,), daemon=True) for runs in all_runs]
    for thread in threads:
        thread.start()
    assert stop.wait(seconds)
    for thread in threads:
        thread.join(seconds)
    assert failures == []


def test_the_record_is_right_whatever_the_carrier_does(processes, simulator, request):
    all_runs = [processes() for _ in range(3)]
    runs = all_runs[0]
    ids = [runs.start(document(number), env=ENV) for number in range(3)]
    work_together(all_runs, ids)
    for run_id in ids:
        shown = runs.show(run_id)
        assert shown["state"] == "done", shown
        names = Counter(one["blockId"] for one in shown["blocks"])
        assert names == Counter(["create", "wait", "send", "nap", "tag"])
        kinds = Counter(event.kind for event in runs.events(run_id))
        assert kinds["run.created"] == kinds["run.done"] == 1
        for warning in shown.get("warnings", ()):  # of whoever lost it in the middle of a call
            assert "AtOnce" in request.node.name
            assert "is used" in warning
        taken_over = runs.store.run(run_id).fence > 3  # begun, and again after each wait
        assert taken_over == ("AtOnce" in request.node.name)
    sessions = simulator.truth()
    prompts = [item["messages"][0]["message"] for item in sessions]
    assert sorted(prompts) == ["Fix 0", "Fix 1", "Fix 2"]
    for session in sessions:
        said = [one["message"] for one in session["messages"] if one["source"] == "user"]
        assert len([text for text in said if text.startswith("go on")]) == 1


def test_what_no_carrier_knows_is_found_by_a_sweep(processes, store):
    runs = processes()
    (run_id,) = [runs.start(flow(devin("look", "list_sessions")), env=ENV)]
    other = processes()  # which was not there when the run was put
    other.worker.carrier.offers = lambda: ()
    other.work(once=True)
    assert store.run(run_id).state == "done"


def test_a_worker_sweeps_now_and_then(processes, store, transport):
    runs = processes()
    runs.worker.carrier.offers = lambda: ()
    run_id = runs.start(flow(devin("look", "list_sessions")), env=ENV)
    begun = runs.worker.claim()  # by the first sweep
    runs.worker.drives.let_go(begun)
    runs.worker.drives.put_back(begun, "It has to be found once more.")
    began, stop = transport.clock.time(), threading.Event()

    def turn():
        if store.run(run_id).state == "done" or transport.clock.time() > began + 3 * SWEEP:
            stop.set()
        return False

    runs.work(cancel=stop, each_turn=turn)
    assert store.run(run_id).state == "done"
    assert transport.clock.time() >= began + SWEEP - 1


def test_the_row_decides_between_two_that_begin_one_run(processes, store):
    one, other = processes(), processes()
    run_id = one.start(flow(devin("look", "list_sessions")), env=ENV)
    begun = [runs.worker.claim(run_id) for runs in (one, other)]
    assert begun[0] is not None
    assert begun[1] is None or begun[1].fence > begun[0].fence
    for runs, run in zip((one, other), begun, strict=True):
        if run is not None:
            runs.worker.drive(run, None, None)
    assert store.run(run_id).state == "done"
    kinds = Counter(event.kind for event in one.events(run_id))
    assert kinds["run.done"] == 1


class Noted(Wrapped):
    """A carrier that notes what is put, and whether that was inside a transaction."""

    def __init__(self, store, owner, clock):
        super().__init__(store, owner, clock)
        self.database = store.database
        self.put_inside = []

    def put(self, connection, run_ids):
        self._own.put(connection, run_ids)
        self.put_inside += [(run_id, self.database.inside) for run_id in run_ids]


@pytest.fixture
def noted(open_app, store):
    app = open_app()
    runs = Runs(app, store, carry=lambda mine, name: Noted(mine, name, app.clock))
    yield runs
    runs.close()


def taken(runs):
    carrier = runs.worker.carrier
    put, carrier.put_inside = carrier.put_inside, []
    return put


ASKS = block("form", "human_in_the_loop", inputFormat=[{"id": "1", "name": "x", "type": "string"}])
FAILS = devin("look", "get_session", sessionId="devin-unknown")


def test_a_run_that_becomes_ready_is_put_in_the_same_transaction(noted, transport, open_app):
    runs, ready = noted, lambda run_id: [(run_id, True)]
    waits = runs.start(flow(block("nap", "wait", timeValue="5", timeUnit="minutes")), env=ENV)
    assert taken(runs) == ready(waits)
    runs.work(once=True)
    transport.clock.advance(301)
    runs.store.finish_due(transport.clock.time())
    assert taken(runs) == ready(waits)  # a moment came
    asks = runs.start(flow(ASKS), env=ENV, deadline=1000.0)
    runs.work(once=True)
    taken(runs)
    runs.answer(asks, {"x": "y"})
    assert taken(runs) == ready(asks)  # somebody answered
    runs.work(once=True)
    fails = runs.start(flow(FAILS), env=ENV)
    runs.work(once=True)
    taken(runs)
    runs.resume(fails)
    assert taken(runs) == ready(fails)  # it was resumed
    late = runs.start(flow(ASKS), env=ENV, deadline=1000.0)
    runs.work(once=True)
    taken(runs)
    runs.store.wake_overdue(transport.clock.time() + 1001)
    assert taken(runs) == ready(late)  # its deadline passed
    fork = runs.fork(asks, "form")
    assert taken(runs) == ready(fork)
    begun = runs.worker.claim(fork)
    runs.worker.drives.let_go(begun)
    runs.worker.drives.put_back(begun, "It could not go on.")
    assert taken(runs) == ready(fork)  # it was given back
    begun = runs.worker.claim(fork)
    runs.store.cancel_run(fork, transport.clock.time())
    runs.store.park(begun, transport.clock.time())
    assert taken(runs) == ready(fork)  # it was to be cancelled as it was set aside


def test_a_run_whose_turn_comes_is_put_in_the_same_transaction(open_app, store, transport):
    app = open_app(env={**ENV, "SIM_DEVIN_MAX_SESSIONS": "1"})
    runs = Runs(app, store, carry=lambda mine, name: Noted(mine, name, app.clock))
    create = devin("create", "create_session", prompt="x [scenario: never-ends]")
    ids = [runs.start(flow(create), env=app.settings.env) for _ in range(2)]
    runs.work(once=True)
    (queued,) = [run_id for run_id in ids if runs.show(run_id)["state"] == "waiting"]
    (session,) = transport.simulator.truth()
    app.call("devin_terminate_session", {"sessionId": session["session_id"]})
    app.clock.advance(61)
    taken(runs)
    runs.work(once=True)
    assert taken(runs) == [(queued, True)]
    runs.close()


def test_what_is_put_in_a_transaction_that_fails_counts_for_nothing(noted, store):
    def start():
        with noted.store.database.write():
            noted.start(flow(devin("look", "list_sessions")), env=ENV, run_id="gone")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        start()
    assert [run_id for run_id, _ in taken(noted)] == ["gone"]
    noted.work(once=True)
    assert not store.is_run("gone")
