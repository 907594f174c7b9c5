"""Every switch: what it changes, and what it refuses."""

import json

import pytest

from sim_devin.simulator import Key, SimClock, Simulator, SwitchError, Switches


def archived(client):
    session_id = client.create()
    client.ok("POST", f"/sessions/{session_id}/archive")
    return session_id


def ended(client):
    session_id = client.create()
    client.ok("DELETE", f"/sessions/{session_id}")
    return session_id


class TestForms:
    def test_prefixed_ids(self, make):
        client = make(session_id="prefixed")
        parent = client.create()
        child = client.simulator.add_session("org-test", "x", parent_session_id=parent)
        assert parent.startswith("devin-")
        assert client.get(parent)["url"].endswith(parent)
        assert client.get(parent)["child_session_ids"] == [f"devin-{child}"]
        assert client.get(child)["parent_session_id"] == parent
        assert client.ids(session_ids=[parent]) == [parent]

    @pytest.mark.parametrize(
        ("form", "bare", "prefixed"), [("prefixed", 404, 200), ("bare", 200, 404)]
    )
    def test_paths_that_take_one_form(self, make, form, bare, prefixed):
        client = make(path_ids=form)
        session_id = client.create()
        assert client.call("GET", f"/sessions/{session_id}").status == bare
        assert client.call("GET", f"/sessions/devin-{session_id}").status == prefixed

    def test_legacy_errors(self, make):
        client = make(error_body="legacy")
        answer = client.call("POST", "/sessions", body={})
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == {
            "detail": [{"loc": ["body", "prompt"], "msg": "Field required", "type": "missing"}]
        }
        assert client.call("GET", "/sessions/x").json() == {"detail": "Session not found"}

    def test_absent_fields(self, make):
        session = make(optional_fields="absent").ok("POST", "/sessions", body={"prompt": "x"})
        assert None not in session.values()
        assert "status_detail" not in session
        assert session["is_archived"] is False

    def test_extra_fields(self, make):
        client = make(extra_fields=True)
        session_id = client.create()
        assert "security_profile" in client.get(session_id)
        assert "username" in client.messages(session_id)["items"][0]

    def test_a_detail_nobody_knows(self, make, clock):
        client = make(drift_detail="pondering")
        session_id = client.create()
        clock.advance(20)
        assert client.state(session_id) == ("running", "pondering")

    @pytest.mark.parametrize(("auto", "title"), [(True, "Fix the login"), (False, None)])
    def test_titles(self, make, clock, auto, title):
        client = make(auto_title=auto)
        session_id = client.create()
        assert client.get(session_id)["title"] is None
        clock.advance(10)
        assert client.get(session_id)["title"] == title

    def test_wrapped_attachments(self, make):
        client = make(attachments_envelope="items")
        listed = client.ok("GET", f"/sessions/{client.create()}/attachments")
        assert listed == {"items": []}

    @pytest.mark.parametrize(
        ("form", "start"),
        [
            ("webapp", "https://app.devin.ai/attachments/"),
            ("api", "http://sim.example:1/v3/organizations/org-test/attachments/"),
            ("signed", "http://sim.example:1/simulated-files/org-test/"),
        ],
    )
    def test_attachment_addresses(self, make, clock, form, start):
        client = make(attachment_url=form)
        session_id = client.create()
        clock.advance(300)
        path = f"/sessions/{session_id}/attachments"
        listed = client.ok("GET", path, headers={"Host": "sim.example:1"})
        assert listed[0]["url"].startswith(start)

    def test_minimal_pages(self, make):
        client = make(page_fields="minimal")
        assert client.list() == {"items": []}
        client.create()
        client.create()
        page = client.list(first=1)
        assert page.keys() == {"items", "end_cursor", "has_next_page"}
        assert client.list(first=1, after=page["end_cursor"]).keys() == {"items"}

    def test_a_cursor_on_the_last_page(self, make):
        client = make(last_page_cursor="cursor")
        assert client.list()["end_cursor"] is None
        session_id = client.create()
        page = client.messages(session_id)
        assert page["has_next_page"] is False
        client.say(session_id, "new")
        tail = client.messages(session_id, after=page["end_cursor"])
        assert [item["message"] for item in tail["items"]] == ["new"]

    def test_milliseconds(self, make):
        client = make(timestamps="milliseconds")
        session_id = client.create()
        assert client.get(session_id)["created_at"] == 1_800_000_000_000
        assert client.messages(session_id)["items"][0]["created_at"] == 1_800_000_000_000
        assert client.ids(created_after=1_800_000_000_000) == [session_id]

    def test_the_prompt_need_not_be_a_message(self, make):
        client = make(prompt_is_message=False)
        assert client.messages(client.create())["items"] == []

    @pytest.mark.parametrize(("form", "shown"), [("include", True), ("exclude", False)])
    def test_archived_sessions_in_a_plain_list(self, make, form, shown):
        client = make(list_archived=form)
        session_id = archived(client)
        assert client.ids() == ([session_id] if shown else [])
        assert client.ids(is_archived="true") == [session_id]


@pytest.mark.parametrize(
    ("switch", "values", "call"),
    [
        (
            "missing_auth_status",
            (403, 401),
            lambda c: c.call("GET", "/sessions", headers={"Authorization": ""}),
        ),
        (
            "bad_token_status",
            (401, 403),
            lambda c: c.call("GET", "/sessions", headers={"Authorization": "Bearer x"}),
        ),
        (
            "bad_cursor_status",
            (422, 400),
            lambda c: c.call("GET", "/sessions", query={"after": "?"}),
        ),
        ("archived_write_status", (409, 400, 403), lambda c: c.say(archived(c))),
        (
            "archived_write_status",
            (409, 400, 403),
            lambda c: c.call("PUT", f"/sessions/{archived(c)}/tags", body={"tags": []}),
        ),
        ("ended_message_status", (409, 400, 403, 404), lambda c: c.say(ended(c))),
        (
            "delete_twice_status",
            (200, 400, 404, 409),
            lambda c: c.call("DELETE", f"/sessions/{ended(c)}"),
        ),
        (
            "archive_twice_status",
            (200, 400, 409),
            lambda c: c.call("POST", f"/sessions/{archived(c)}/archive"),
        ),
    ],
)
def test_statuses(make, switch, values, call):
    for value in values:
        assert call(make(**{switch: value})).status == value
    with pytest.raises(SwitchError, match=switch):
        make(**{switch: 418})


@pytest.mark.parametrize("status", [409, 400, 403, 404])
def test_status_after_thirty_days(make, clock, status):
    client = make(expired_message_status=status)
    session_id = client.create()
    clock.advance(30 * 86_400)
    assert client.say(session_id).status == 200
    clock.advance(1)
    answer = client.say(session_id)
    assert answer.status == status
    assert "continued" in answer.json()["detail"]


def test_the_words_of_a_second_delete(make):
    client = make(delete_twice_status=400)
    answer = client.call("DELETE", f"/sessions/{ended(client)}")
    assert answer.json()["detail"] == "Devin session already exited"


class TestMoney:
    def test_no_quota_refuses_creates(self, make):
        client = make(out_of_quota=True)
        answer = client.call("POST", "/sessions", body={"prompt": "x"})
        assert answer.status == 403
        assert answer.json()["detail"] == "out_of_quota"
        assert client.list()["total"] == 0

    @pytest.mark.parametrize(
        ("form", "soon", "later"),
        [
            ("suspend_again", ("resuming", None), ("suspended", "out_of_credits")),
            ("resume", ("resuming", None), ("running", "finished")),
        ],
    )
    def test_a_message_to_a_session_without_money(self, make, clock, form, soon, later):
        client = make(unpaid_message=form)
        session_id = client.create("[scenario: out_of_credits]")
        clock.advance(100)
        assert client.say(session_id).status == 200
        assert client.state(session_id) == soon
        clock.advance(100)
        assert client.state(session_id) == later

    def test_or_it_is_refused(self, make, clock):
        client = make(unpaid_message="refuse")
        session_id = client.create("[scenario: out_of_credits]")
        clock.advance(100)
        answer = client.say(session_id)
        assert (answer.status, answer.json()["detail"]) == (403, "out_of_credits")
        assert client.simulator.counts["messages_stored"] == 0


class TestTags:
    def test_an_allow_list(self, make):
        client = make(allowed_tags=("a", "b"))
        session_id = client.create(tags=["a"])
        assert client.ok("POST", f"/sessions/{session_id}/tags", body={"tags": ["b"]})
        for method, path, body in (
            ("POST", "/sessions", {"prompt": "x", "tags": ["a", "c"]}),
            ("POST", f"/sessions/{session_id}/tags", {"tags": ["c"]}),
            ("PUT", f"/sessions/{session_id}/tags", {"tags": ["c"]}),
        ):
            answer = client.call(method, path, body=body)
            assert answer.status == 422
            assert "c" in answer.json()["detail"]

    @pytest.mark.parametrize("status", [422, 400, 403])
    def test_the_status_of_a_disallowed_tag(self, make, status):
        client = make(allowed_tags=(), disallowed_tag_status=status)
        body = {"prompt": "x", "tags": ["c"]}
        assert client.call("POST", "/sessions", body=body).status == status

    def test_another_limit(self, make):
        client = make(tag_limit=1)
        assert client.create(tags=["a"])
        body = {"prompt": "x", "tags": ["a", "b"]}
        assert client.call("POST", "/sessions", body=body).status == 422


class TestChosenId:
    QUERY = {"devin_id": "devin-chosen"}  # noqa: RUF012

    def create(self, client):
        return client.call("POST", "/sessions", query=self.QUERY, body={"prompt": "x"})

    def test_ignored(self, client):
        assert self.create(client).json()["session_id"] != "chosen"
        assert self.create(client).status == 200

    def test_a_repeat_is_a_conflict(self, make):
        client = make(devin_id_query="conflict")
        assert self.create(client).json()["session_id"] == "chosen"
        assert self.create(client).status == 409
        assert client.simulator.counts["sessions_created"] == 1

    def test_a_repeat_answers_the_first(self, make):
        client = make(devin_id_query="idempotent")
        assert self.create(client).json() == self.create(client).json()
        assert client.simulator.counts["sessions_created"] == 1


class TestLags:
    def test_the_list_shows_the_past(self, make, clock):
        client = make(list_lag=10)
        session_id = client.create(tags=["a"])
        assert client.list()["total"] == 0
        assert client.get(session_id)
        clock.advance(12)
        assert client.list()["items"][0]["status"] == "claimed"
        assert client.state(session_id) == ("running", "working")
        client.ok("PUT", f"/sessions/{session_id}/tags", body={"tags": ["b"]})
        assert client.ids(tags=["b"]) == []
        assert client.ids(tags=["a"]) == [session_id]
        clock.advance(10)
        assert client.ids(tags=["b"]) == [session_id]

    def test_the_status_of_before_a_message_lingers(self, make, clock):
        client = make(status_lag=10)
        session_id = client.create()
        clock.advance(3600)
        before = client.state(session_id)
        assert before[0] in ("running", "suspended")
        path = f"/sessions/{session_id}/messages"
        answer = client.ok("POST", path, body={"message": "More, please."})
        assert answer["status"] == before[0]
        clock.advance(9)
        assert client.state(session_id) == before
        assert client.list()["items"][0]["status"] == before[0]
        clock.advance(1)
        assert client.state(session_id) == ("running", "working")

    def test_a_new_session_may_not_be_found_yet(self, make, clock):
        client = make(get_lag=3)
        session_id = client.create()
        assert client.call("GET", f"/sessions/{session_id}").status == 404
        assert client.ids() == [session_id]
        clock.advance(3)
        assert client.get(session_id)

    @pytest.mark.parametrize(("lag", "shown"), [(0.0, 0.75), (30.0, 0.4), (1e6, 0.0)])
    def test_consumption_lags(self, make, clock, lag, shown):
        client = make(acu_lag=lag)
        session_id = client.create()
        clock.advance(225)
        assert client.get(session_id)["acus_consumed"] == shown

    def test_the_category_is_late(self, make, clock):
        client = make(category_delay=50)
        session_id = client.create("Bump lodash")
        clock.advance(49)
        assert client.get(session_id)["category"] is None
        assert client.get(session_id)["subcategory"] is None
        clock.advance(1)
        assert client.get(session_id)["category"] == "migrations_and_upgrades"
        assert client.get(session_id)["subcategory"] == "Other"


class TestTimes:
    def test_idling(self, make, clock):
        client = make(idle_seconds=60)
        session_id = client.create()
        clock.advance(279)
        assert client.state(session_id) == ("running", "finished")
        clock.advance(1)
        assert client.state(session_id) == ("suspended", "inactivity")

    def test_waking(self, make, clock):
        client = make(wake_seconds=50)
        session_id = client.create("[scenario: sleeps]")
        clock.advance(60)
        client.say(session_id)
        clock.advance(49)
        assert client.state(session_id) == ("resuming", None)
        clock.advance(1)
        assert client.state(session_id) == ("running", "working")

    def test_continuing(self, make, clock):
        client = make(continuation_seconds=100)
        session_id = client.create()
        clock.advance(101)
        assert client.say(session_id).status == 409


@pytest.mark.parametrize(
    ("completion", "state"),
    [
        ("finished", ("running", "finished")),
        ("waiting_for_user", ("running", "waiting_for_user")),
        ("exit", ("exit", "finished")),
    ],
)
def test_completion(make, clock, completion, state):
    client = make(completion=completion)
    session_id = client.create()
    clock.advance(300)
    assert client.state(session_id) == state


def test_create_permission(make):
    key = Key("org-test", permissions=frozenset({"UseDevinSessions"}))
    client = make("cog_x", keys={"cog_x": key}, create_permission="ManageOrgSessions")
    answer = client.call("POST", "/sessions", body={"prompt": "x"})
    assert answer.status == 403
    assert "ManageOrgSessions" in answer.json()["detail"]


class TestModes:
    @pytest.mark.parametrize(("modes", "resolved"), [(("lite", "fast"), "lite"), ((), None)])
    def test_the_first_is_what_is_used_when_none_is_asked_for(self, make, modes, resolved):
        client = make(enabled_modes=modes)
        assert client.get(client.create())["devin_mode"] == resolved


class TestPlatforms:
    def test_labels_are_the_organizations(self, make):
        client = make(platforms=("Amiga",))
        assert client.create(platform="amiga")
        body = {"prompt": "x", "platform": "windows"}
        assert client.call("POST", "/sessions", body=body).status == 400


class TestValues:
    def test_text_becomes_what_a_switch_takes(self):
        switches = Switches.parse(
            {
                "list_lag": "2.5", "out_of_quota": "true", "allowed_tags": "a, b",
                "delete_twice_status": "400", "drift_detail": "none", "error_body": "legacy",
            }
        )  # fmt: skip
        assert switches.list_lag == 2.5
        assert switches.out_of_quota is True
        assert switches.allowed_tags == ("a", "b")
        assert switches.delete_twice_status == 400
        assert switches.drift_detail is None
        assert switches.error_body == "legacy"

    @pytest.mark.parametrize(
        ("name", "value", "told"),
        [
            ("no_such", "1", "no_such"),
            ("list_lag", "soon", "a number of seconds"),
            ("list_lag", -1, "0 or more"),
            ("list_lag", float("nan"), "0 or more"),
            ("tag_limit", "1.5", "a whole number"),
            ("tag_limit", True, "a whole number"),
            ("out_of_quota", "yes", "true or false"),
            ("error_body", "xml", "problem, legacy"),
            ("error_body", None, "a string"),
            ("platforms", [1], "a list of strings"),
            ("delete_twice_status", "500", "200, 400, 404, 409"),
        ],
    )
    def test_anything_else_is_refused(self, name, value, told):
        with pytest.raises(SwitchError, match=told) as caught:
            Switches.parse({name: value})
        assert name in str(caught.value)

    def test_they_can_be_changed_while_running(self, client):
        client.simulator.switches = client.simulator.switches.changed({"out_of_quota": True})
        assert client.call("POST", "/sessions", body={"prompt": "x"}).status == 403

    def test_each_is_described(self):
        described = Switches.describe()
        assert len(described) == len({name for name, *_ in described}) > 30
        for _, default, allowed, about in described:
            assert about
            assert not allowed or default in allowed

    def test_defaults_survive_json(self):
        described = {name: default for name, default, *_ in Switches.describe()}
        assert Switches().changed(json.loads(json.dumps(described))) == Switches()


def test_the_same_seed_makes_the_same_ids():
    def ids(seed):
        simulator = Simulator(clock=SimClock(0, speed=0), seed=seed)
        return [simulator.add_session("org-a", "x") for _ in range(3)]

    assert ids(5) == ids(5) != ids(6)
    assert ids(None) != ids(None)
