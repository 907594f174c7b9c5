"""Faults: who is hit, how often, and what the service did meanwhile."""

from email.utils import parsedate_to_datetime

import pytest

from sim_devin.simulator import Fault, FaultError, Simulator

CREATE = {"method": "POST", "path": "/sessions$"}


def post(client, **fields):
    return client.call("POST", "/sessions", body={"prompt": "x", **fields})


class TestRateLimit:
    @pytest.mark.parametrize(
        ("fault", "header"),
        [
            (Fault("status", status=429), "1"),
            (Fault("status", status=429, retry_after=7), "7"),
            (Fault("status", status=429, retry_after=0.5), "0.5"),
            (Fault("status", status=429, retry_after_form="none"), None),
            (Fault("status", status=503, retry_after=3), "3"),
            (Fault("status", status=503), None),
        ],
    )
    def test_retry_after(self, client, fault, header):
        client.simulator.faults.add(fault)
        answer = client.call("GET", "/sessions")
        assert answer.status == fault.status
        assert answer.headers.get("Retry-After") == header
        assert answer.json()["status"] == fault.status

    def test_retry_after_as_a_date(self, client, clock):
        client.simulator.faults.add(
            Fault("status", status=429, retry_after=90, retry_after_form="date")
        )
        answer = client.call("GET", "/sessions")
        date = parsedate_to_datetime(answer.headers["Retry-After"])
        assert date.timestamp() == clock.time() + 90

    @pytest.mark.parametrize(
        ("form", "given"), [("none", False), ("seconds", True), ("date", True)]
    )
    def test_the_switch_says_what_is_usual(self, make, form, given):
        client = make(retry_after=form)
        client.simulator.faults.add(Fault("status", status=429))
        assert ("Retry-After" in client.call("GET", "/sessions").headers) is given

    def test_a_detail_of_ones_own_in_the_old_form(self, make):
        client = make(error_body="legacy")
        client.simulator.faults.add(Fault("status", status=429, detail="Slow down"))
        assert client.call("GET", "/sessions").json() == {"detail": "Slow down"}


@pytest.mark.parametrize(
    ("fault", "status", "broken", "created"),
    [
        (Fault("status", status=500), 500, None, 0),
        (Fault("status", status=500, commit=True), 500, None, 1),
        (Fault("html"), 502, None, 0),
        (Fault("html", status=504, commit=True), 504, None, 1),
        (Fault("reset"), None, "reset", 0),
        (Fault("reset", commit=True), None, "reset", 1),
        (Fault("timeout"), None, "timeout", 0),
        (Fault("timeout", commit=True), None, "timeout", 1),
        (Fault("commit_delay", seconds=5), None, "timeout", 1),
        (Fault("truncate"), 200, "truncate", 1),
        (Fault("truncate", commit=False), 503, "truncate", 0),
        (Fault("slow", seconds=2), 200, None, 1),
        (Fault("bad_json"), 200, None, 1),
        (Fault("wrong_shape"), 200, None, 1),
        (Fault("empty"), 200, None, 1),
        (Fault("circle"), 200, None, 1),
    ],
)
def test_what_the_client_sees_and_what_happened(client, fault, status, broken, created):
    client.simulator.faults.add(fault)
    answer = post(client)
    assert answer.fault == broken
    if status is not None:
        assert answer.status == status
    assert client.simulator.counts["sessions_created"] == created
    assert len(client.simulator.truth()) == created
    entry = client.simulator.log[-1]
    assert entry.fault == fault.kind
    assert entry.status == status


def test_bodies_that_are_wrong(client):
    client.simulator.faults.add(
        Fault("bad_json"), Fault("wrong_shape"), Fault("empty"), Fault("html")
    )
    with pytest.raises(ValueError, match="Expecting"):
        post(client).json()
    assert isinstance(post(client).json(), list)
    assert post(client).body == b""
    answer = post(client)
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.body.startswith(b"<html>")


def test_a_list_goes_round_in_circles(client):
    session_id = client.create()
    client.simulator.faults.add(Fault("circle", method="GET", times=None))
    pages = [client.list()]
    for _ in range(3):
        pages.append(client.list(after=pages[-1]["end_cursor"]))
    assert [page["end_cursor"] for page in pages] == ["A", "B", "A", "B"]
    assert all(page["has_next_page"] for page in pages)
    assert [len(page["items"]) for page in pages] == [1, 0, 0, 0]
    assert client.get(session_id)["session_id"] == session_id


def test_slow_is_told_by_the_answer(client):
    client.simulator.faults.add(Fault("slow", seconds=2.5))
    answer = post(client)
    assert (answer.status, answer.delay) == (200, 2.5)


def test_a_late_commit_becomes_real_only_later(client, clock):
    client.simulator.faults.add(Fault("commit_delay", seconds=60, **CREATE))
    assert post(client, tags=["mine"]).fault == "timeout"
    assert client.ids(tags=["mine"]) == []
    session_id = client.simulator.truth()[0]["session_id"]
    assert client.simulator.truth()[0]["committed"] is False
    assert client.call("GET", f"/sessions/{session_id}").status == 404
    clock.advance(60)
    assert client.ids(tags=["mine"]) == [session_id]
    session = client.get(session_id)
    assert session["created_at"] == int(clock.time())
    assert session["status"] == "new"
    clock.advance(5)
    assert client.state(session_id) == ("running", "working")


def test_only_matching_requests_are_hit(client):
    client.simulator.faults.add(Fault("status", status=500, times=None, **CREATE))
    assert post(client).status == 500
    assert client.call("GET", "/sessions").status == 200
    assert client.call("POST", "/sessions/x/archive").status == 404


def test_times_and_after(client):
    client.simulator.faults.add(Fault("status", times=2, after=1))
    statuses = [client.call("GET", "/sessions").status for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]
    assert client.simulator.faults.pending() == []


def test_rules_are_tried_in_order(client):
    client.simulator.faults.add(Fault("status", status=500), Fault("status", status=502))
    assert [client.call("GET", "/sessions").status for _ in range(3)] == [500, 502, 200]


def test_for_ever_until_cleared(client):
    client.simulator.faults.add(Fault("status", times=None))
    assert {client.call("GET", "/sessions").status for _ in range(9)} == {503}
    assert client.simulator.faults.pending()[0]["times"] is None
    client.simulator.faults.clear()
    assert client.call("GET", "/sessions").status == 200


def test_probability_is_repeatable():
    def statuses(seed):
        fault = Fault("status", times=None, probability=0.5)
        simulator = Simulator(faults=[fault], seed=seed)
        return [simulator.handle("GET", "/v3/self").status for _ in range(40)]

    assert statuses(3) == statuses(3)
    assert set(statuses(3)) == {403, 503}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "kind: missing"),
        ({"kind": "flood"}, "flood"),
        ({"kind": "slow", "second": 1}, "second"),
        ({"kind": "slow", "seconds": "1"}, "seconds"),
        ({"kind": "slow", "seconds": -1}, "seconds"),
        ({"kind": "slow", "path": "("}, "path"),
        ({"kind": "slow", "path": 3}, "path"),
        ({"kind": "slow", "method": 3}, "method"),
        ({"kind": "slow", "times": 0}, "times"),
        ({"kind": "slow", "times": 1.5}, "times"),
        ({"kind": "slow", "after": None}, "after"),
        ({"kind": "slow", "probability": 2}, "probability"),
        ({"kind": "slow", "commit": "yes"}, "commit"),
        ({"kind": "status", "status": 42}, "status"),
        ({"kind": "status", "retry_after": -1}, "retry_after"),
        ({"kind": "status", "retry_after_form": "soon"}, "retry_after_form"),
    ],
)
def test_a_fault_must_make_sense(data, told):
    with pytest.raises(FaultError, match=told):
        Fault.parse(data)


def test_what_is_pending_can_be_put_back(client):
    faults = client.simulator.faults
    faults.add(Fault("reset", method="POST", times=3, commit=True))
    pending = faults.pending()
    faults.clear()
    faults.add(*map(Fault.parse, pending))
    assert faults.pending() == pending
