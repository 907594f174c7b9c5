"""Many callers at once."""

from concurrent.futures import ThreadPoolExecutor


def test_creates_from_many_threads_get_their_own_ids(client):
    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda number: client.create(f"Task {number}"), range(400)))
    assert len(set(ids)) == 400
    assert client.simulator.counts["sessions_created"] == 400
    assert len(client.simulator.truth()) == 400


def test_everything_at_once(client, clock):
    session_id = client.create(tags=["t"])

    def work(number):
        clock.advance(1)
        client.say(session_id, f"m{number}")
        client.ok("POST", f"/sessions/{session_id}/tags", body={"tags": [f"t{number}"]})
        assert client.list()["total"] == 1
        return client.get(session_id)["status"]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(40))) <= {"new", "claimed", "running"}
    assert client.simulator.counts["messages_stored"] == 40
    assert len(client.ok("GET", f"/sessions/{session_id}/tags")["tags"]) == 41
    said = [text for source, text in client.texts(session_id) if source == "user"]
    assert sorted(said[1:]) == sorted(f"m{number}" for number in range(40))


def test_reset_forgets_everything(client):
    client.create()
    client.simulator.reset()
    assert client.simulator.truth() == []
    assert not client.simulator.counts
    assert not client.simulator.log
    assert client.list()["total"] == 0
