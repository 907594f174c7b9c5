"""The list of sessions: filters, pages, cursors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin.simulator import SimClock, Simulator

FILTERED = {
    "tags": ({"tags": ["x", "y"]}, {"tags": ["z"]}, {"tags": ["q", "y"]}),
    "repo_names": ({"repos": ("a/b",)}, {"repos": ("a/c",)}, {"repo_names": ["a/b"]}),
    "playbook_id": ({"playbook_id": "p1"}, {"playbook_id": "p2"}, {"playbook_id": "p1"}),
    "origins": ({"origin": "slack"}, {"origin": "api"}, {"origins": ["slack", "teams"]}),
    "schedule_id": ({"schedule_id": "s1"}, {}, {"schedule_id": "s1"}),
    "user_ids": ({"user_id": "u1"}, {"user_id": "u2"}, {"user_ids": ["u0", "u1"]}),
    "service_user_ids": ({"service_user_id": "v1"}, {}, {"service_user_ids": ["v1"]}),
    "automation_ids": ({"automation_id": "m1"}, {}, {"automation_ids": ["m1"]}),
    "parent_session_id": ({"parent_session_id": "0a"}, {}, {"parent_session_id": "devin-0a"}),
    "created_after": (
        {"created_at": 1_700_000_500.0}, {"created_at": 1_700_000_100.0},
        {"created_after": 1_700_000_500, "created_before": 1_700_000_600},
    ),
    "created_before": (
        {"created_at": 1_700_000_500.0}, {"created_at": 1_700_000_900.0},
        {"created_before": 1_700_000_500},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERED)
def test_filter(client, simulator, name):
    fits, other, query = FILTERED[name]
    simulator.add_session("org-test", "other", **other)
    wanted = simulator.add_session("org-test", "wanted", **fits)
    assert client.ids(**query) == [wanted]


def test_filter_by_session_ids_in_either_form(client):
    one, _, three = client.create(), client.create(), client.create()
    assert client.ids(session_ids=[f"devin-{one}", three, "devin-unknown"]) == [three, one]


def test_filter_by_archive(client):
    one, two = client.create(), client.create()
    client.ok("POST", f"/sessions/{one}/archive")
    assert client.ids() == [two, one]
    assert client.ids(is_archived="true") == [one]
    assert client.ids(is_archived="false") == [two]


def test_filter_by_category_once_it_is_known(client, clock):
    bug = client.create("Fix the crash")
    client.create("Write the docs")
    assert client.ids(category="bug_fixing") == []
    clock.advance(100)
    assert client.ids(category="bug_fixing") == [bug]


def test_filter_by_update(client, clock):
    client.create(title="settled")
    clock.advance(10_000)
    fresh = client.create()
    now = int(clock.time())
    assert client.ids(updated_after=now) == [fresh]
    assert fresh not in client.ids(updated_before=now - 1)


def test_filters_add_up(client):
    both = client.create(tags=["a"], playbook_id="p")
    client.create(tags=["a"])
    client.create(playbook_id="p")
    assert client.ids(tags=["a"], playbook_id="p") == [both]


@pytest.mark.parametrize(
    "query",
    [
        {"first": "0"}, {"first": "201"}, {"first": "-1"}, {"first": "ten"}, {"first": ""},
        {"first": "1.5"}, {"after": "nonsense"}, {"after": "bm9uc2Vuc2U="}, {"after": "é"},
        {"is_archived": "maybe"}, {"created_after": "yesterday"}, {"origins": ["api", "fax"]},
        {"category": "gardening"},
    ],
)  # fmt: skip
def test_a_query_that_does_not_fit_is_422(client, query):
    answer = client.call("GET", "/sessions", query=query)
    assert answer.status == 422
    assert answer.json()["errors"][0]["loc"][:2] == ["query", next(iter(query))]


def test_an_empty_organization(client):
    assert client.list() == {"items": [], "end_cursor": None, "has_next_page": False, "total": 0}


def test_a_hundred_by_default_and_two_hundred_at_most(client, simulator):
    for _ in range(201):
        simulator.add_session("org-test", "x")
    assert len(client.list()["items"]) == 100
    page = client.list(first=200)
    assert (len(page["items"]), page["has_next_page"], page["total"]) == (200, True, 201)
    assert len(client.list(first=200, after=page["end_cursor"])["items"]) == 1


@given(
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=12),
    arrivals=st.lists(st.integers(0, 3), min_size=12, max_size=12),
)
def test_pages_neither_lose_nor_repeat_while_sessions_arrive(sizes, arrivals):
    simulator = Simulator(clock=SimClock(0, speed=0))
    path, headers = "/v3/organizations/org-a/sessions", {"Authorization": "Bearer cog_x"}
    before = [simulator.add_session("org-a", "x") for _ in range(20)]
    seen, after = [], []
    for turn in range(100):
        query = [("first", str(sizes[turn % len(sizes)])), *after]
        page = simulator.handle("GET", path, query, headers).json()
        seen += [item["session_id"] for item in page["items"]]
        for _ in range(arrivals[turn % 12]):
            simulator.add_session("org-a", "late")
        if not page["has_next_page"]:
            assert page["end_cursor"] is None
            break
        after = [("after", page["end_cursor"])]
    assert seen == before[::-1]


def test_lists_and_gets_agree(client, clock):
    session_id = client.create(structured_output_schema={"properties": {"a": {}}})
    for _ in range(30):
        clock.advance(10)
        assert client.list()["items"] == [client.get(session_id)]
