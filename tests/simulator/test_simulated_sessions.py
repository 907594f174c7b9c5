"""The endpoints: what they take, answer and refuse."""

import json

import pytest

REQUIRED = {
    "session_id", "url", "status", "tags", "org_id", "created_at", "updated_at",
    "acus_consumed", "pull_requests",
}  # fmt: skip
ONLY_GET_AND_LIST = ("status_detail", "structured_output", "category", "subcategory")


def problem(answer, status):
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    data = answer.json()
    assert data["status"] == status
    assert data["title"]
    return data


class TestCreate:
    def test_a_prompt_is_enough(self, client):
        session = client.ok("POST", "/sessions", body={"prompt": "Fix it"})
        assert session.keys() >= REQUIRED
        assert session["status"] == "new"
        assert session["org_id"] == "org-test"
        assert session["created_at"] == 1_800_000_000
        assert session["acus_consumed"] == 0.0
        assert len(session["session_id"]) == 32
        assert session["url"].endswith(session["session_id"])
        assert session["service_user_id"].startswith("service-user-")
        assert session["origin"] == "api"

    def test_what_was_given_is_kept(self, client):
        session = client.get(
            client.create(
                title="A title",
                tags=["b", "a", "b"],
                playbook_id="playbook-1",
                devin_mode="lite",
                max_acu_limit=3,
            )
        )
        assert session["title"] == "A title"
        assert session["tags"] == ["b", "a"]
        assert session["playbook_id"] == "playbook-1"
        assert session["devin_mode"] == "lite"

    def test_fields_of_get_and_list_stay_empty_in_other_answers(self, client, clock):
        session_id = client.create(structured_output_schema={"properties": {"a": {}}})
        clock.advance(300)
        for method, path in (
            ("POST", f"/sessions/{session_id}/archive"),
            ("POST", f"/sessions/{session_id}/unarchive"),
            ("DELETE", f"/sessions/{session_id}"),
        ):
            answer = client.ok(method, path)
            assert [answer[name] for name in ONLY_GET_AND_LIST] == [None] * 4

    def test_unknown_fields_are_ignored(self, client):
        assert client.create(model="gpt", snapshot_id=3)

    def test_the_prompt_is_the_first_message(self, client):
        assert client.texts(client.create("Do it")) == [("user", "Do it")]

    @pytest.mark.parametrize(
        ("body", "loc"),
        [
            ({}, ["body", "prompt"]),
            ({"prompt": None}, ["body", "prompt"]),
            ({"prompt": 3}, ["body", "prompt"]),
            ({"prompt": "x", "title": 3}, ["body", "title"]),
            ({"prompt": "x", "tags": "a"}, ["body", "tags"]),
            ({"prompt": "x", "tags": ["a", 3]}, ["body", "tags", 1]),
            ({"prompt": "x", "tags": [str(n) for n in range(51)]}, ["body", "tags"]),
            ({"prompt": "x", "repos": [None]}, ["body", "repos", 0]),
            ({"prompt": "x", "max_acu_limit": "8"}, ["body", "max_acu_limit"]),
            ({"prompt": "x", "max_acu_limit": 1.5}, ["body", "max_acu_limit"]),
            ({"prompt": "x", "max_acu_limit": True}, ["body", "max_acu_limit"]),
            ({"prompt": "x", "resumable": None}, ["body", "resumable"]),
            ({"prompt": "x", "bypass_approval": "yes"}, ["body", "bypass_approval"]),
            ({"prompt": "x", "attachment_urls": [""]}, ["body", "attachment_urls", 0]),
            ({"prompt": "x", "attachment_urls": ["no url"]}, ["body", "attachment_urls", 0]),
            (
                {"prompt": "x", "attachment_urls": ["https://a/" + "b" * 2083]},
                ["body", "attachment_urls", 0],
            ),
            ({"prompt": "x", "session_secrets": {}}, ["body", "session_secrets"]),
            ({"prompt": "x", "session_secrets": [1]}, ["body", "session_secrets", 0]),
            (
                {"prompt": "x", "session_secrets": [{"key": "a"}]},
                ["body", "session_secrets", 0, "value"],
            ),
            (
                {"prompt": "x", "session_secrets": [{"key": "", "value": "v"}]},
                ["body", "session_secrets", 0, "key"],
            ),
            (
                {"prompt": "x", "session_secrets": [{"key": "k", "value": "v" * 65_537}]},
                ["body", "session_secrets", 0, "value"],
            ),
            (
                {"prompt": "x", "session_secrets": [{"key": "k", "value": 3, "sensitive": 3}]},
                ["body", "session_secrets", 0, "value"],
            ),
            ({"prompt": "x", "structured_output_schema": []}, ["body", "structured_output_schema"]),
            (
                {"prompt": "x", "structured_output_schema": {"title": "x" * 65_536}},
                ["body", "structured_output_schema"],
            ),
            (
                {"prompt": "x", "structured_output_schema": {"items": [{"$ref": "http://a"}]}},
                ["body", "structured_output_schema"],
            ),
        ],
    )
    def test_a_body_that_does_not_fit_is_422(self, client, body, loc):
        data = problem(client.call("POST", "/sessions", body=body), 422)
        assert data["errors"][0]["loc"] == loc
        assert data["errors"][0]["msg"]
        assert client.simulator.counts["sessions_created"] == 0

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b'"x"', b'{"prompt": NaN}', b"[" * 100_000, b"\xff"]
    )
    def test_a_body_that_is_no_json_object_is_422(self, client, content):
        headers = {"Content-Type": "application/json"}
        problem(client.call("POST", "/sessions", data=content, headers=headers), 422)

    def test_a_form_is_422(self, client):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        problem(client.call("POST", "/sessions", data=b"prompt=x", headers=headers), 422)

    def test_all_mistakes_are_told_at_once(self, client):
        body = {"prompt": 1, "title": 2, "tags": 3}
        data = problem(client.call("POST", "/sessions", body=body), 422)
        assert len(data["errors"]) == 3

    @pytest.mark.parametrize("name", ["title", "tags", "repos", "max_acu_limit", "devin_mode"])
    def test_null_is_the_same_as_left_out(self, client, name):
        assert client.create(**{name: None})

    def test_a_mode_that_is_not_enabled_is_400_and_named(self, make):
        client = make(enabled_modes=("normal",))
        body = {"prompt": "x", "devin_mode": "ultra"}
        assert "ultra" in problem(client.call("POST", "/sessions", body=body), 400)["detail"]

    def test_an_unknown_platform_is_400_with_the_choices(self, client):
        body = {"prompt": "x", "platform": "amiga"}
        detail = problem(client.call("POST", "/sessions", body=body), 400)["detail"]
        assert "windows" in detail
        assert "inherit" in detail

    @pytest.mark.parametrize("platform", ["Windows", "inherit", "linux"])
    def test_a_platform_is_known_in_any_case(self, client, platform):
        assert client.create(platform=platform)

    def test_created_as_another_user(self, client):
        session = client.get(client.create(create_as_user_id="user-7"))
        assert (session["user_id"], session["service_user_id"]) == ("user-7", None)

    def test_too_large_a_body_is_413(self, client):
        problem(client.call("POST", "/sessions", data=b" " * (16 * 1024 * 1024 + 1)), 413)

    def test_lone_surrogates_survive(self, client):
        data = b'{"prompt": "\\ud800"}'
        headers = {"Content-Type": "application/json"}
        session = client.ok("POST", "/sessions", data=data, headers=headers)
        assert client.texts(session["session_id"]) == [("user", "\ud800")]


class TestGet:
    @pytest.mark.parametrize("prefix", ["", "devin-"])
    def test_by_either_form_of_id(self, client, prefix):
        session_id = client.create()
        assert client.get(prefix + session_id)["session_id"] == session_id

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/sessions/devin-0"),
            ("DELETE", "/sessions/devin-0"),
            ("GET", "/sessions/devin-0/messages"),
            ("GET", "/sessions/devin-0/attachments"),
            ("GET", "/sessions/devin-0/tags"),
            ("POST", "/sessions/devin-0/archive"),
            ("POST", "/sessions/devin-0/unarchive"),
            ("GET", "/sessions/"),
            ("GET", "/sessions/..%2Fx"),
            ("GET", "/attachments/0/a.txt"),
            ("GET", "/nothing"),
            ("GET", "/sessions/devin-0/events"),
            ("GET", "/sessions/devin-0/tags/x"),
            ("GET", "/v3/other"),
        ],
    )
    def test_what_is_not_there_is_404(self, client, method, path):
        problem(client.call(method, path), 404)

    @pytest.mark.parametrize(
        ("method", "path"),
        [("PUT", "/sessions"), ("POST", "/sessions/x"), ("DELETE", "/sessions/x/tags")],
    )
    def test_another_method_is_405(self, client, method, path):
        problem(client.call(method, path), 405)

    def test_a_session_of_another_organization_is_not_found(self, client, make):
        session_id = client.create()
        client.base = "/v3/organizations/org-other"
        problem(client.call("GET", f"/sessions/{session_id}"), 404)

    def test_an_organization_without_the_prefix_is_not_found(self, make):
        problem(make(org="acme").call("GET", "/sessions"), 404)

    def test_legacy_organization_ids_are_taken(self, make):
        assert make(org="org_legacy").create()

    def test_the_prefix_can_be_changed(self, make):
        client = make(prefix="/api/v3/")
        assert client.base.startswith("/api/v3/organizations/")
        assert client.create()
        problem(client.simulator and client.call("GET", "/v3/x"), 404)


class TestMessages:
    def test_a_message_is_stored_and_the_session_answered(self, client):
        session_id = client.create("Do it")
        answer = client.say(session_id, "Faster").json()
        assert answer["session_id"] == session_id
        assert answer["status_detail"] is None
        assert client.texts(session_id) == [("user", "Do it"), ("user", "Faster")]
        assert client.simulator.counts["messages_stored"] == 1

    def test_oldest_first_with_distinct_ids(self, client, clock):
        session_id = client.create()
        clock.advance(300)
        items = client.messages(session_id)["items"]
        times = [item["created_at"] for item in items]
        assert times == sorted(times)
        assert len({item["event_id"] for item in items}) == len(items) == 3
        assert items[0].keys() == {"event_id", "source", "message", "created_at"}

    def test_paging_and_tailing(self, client):
        session_id = client.create("0")
        for number in range(1, 5):
            client.say(session_id, str(number))
        first = client.messages(session_id, first=2)
        second = client.messages(session_id, first=2, after=first["end_cursor"])
        third = client.messages(session_id, first=2, after=second["end_cursor"])
        shown = [item["message"] for page in (first, second, third) for item in page["items"]]
        assert shown == ["0", "1", "2", "3", "4"]
        assert [page["has_next_page"] for page in (first, second, third)] == [True, True, False]
        assert third["end_cursor"] is None
        assert third["total"] == 5
        client.say(session_id, "5")
        tail = client.messages(session_id, after=second["end_cursor"])
        assert [item["message"] for item in tail["items"]] == ["4", "5"]

    def test_an_event_id_is_no_cursor(self, client):
        session_id = client.create()
        event_id = client.messages(session_id)["items"][0]["event_id"]
        query = {"after": event_id}
        problem(client.call("GET", f"/sessions/{session_id}/messages", query=query), 422)

    def test_a_cursor_of_another_session_is_refused(self, client):
        one, other = client.create(), client.create()
        client.say(one)
        query = {"after": client.messages(one, first=1)["end_cursor"]}
        problem(client.call("GET", f"/sessions/{other}/messages", query=query), 422)

    @pytest.mark.parametrize("body", [{}, {"message": None}, {"message": 3}])
    def test_a_body_that_does_not_fit_is_422(self, client, body):
        session_id = client.create()
        problem(client.call("POST", f"/sessions/{session_id}/messages", body=body), 422)
        assert client.simulator.counts["messages_stored"] == 0

    def test_attachments_come_along(self, client):
        session_id = client.create(attachment_urls=["https://a.example/one.txt?x=1"])
        client.say(session_id, attachment_urls=["https://a.example/two.txt"])
        listed = client.ok("GET", f"/sessions/{session_id}/attachments")
        assert [(item["name"], item["source"]) for item in listed] == [
            ("one.txt", "user"),
            ("two.txt", "user"),
        ]
        assert listed[0]["url"] == "https://a.example/one.txt?x=1"


class TestTags:
    def path(self, client, **fields):
        return f"/sessions/{client.create(**fields)}/tags"

    def test_append_is_an_ordered_union(self, client):
        path = self.path(client, tags=["a", "b"])
        assert client.ok("POST", path, body={"tags": ["c", "b", "c"]}) == {"tags": ["a", "b", "c"]}
        assert client.ok("GET", path) == {"tags": ["a", "b", "c"]}

    def test_replace_replaces_and_clears(self, client):
        path = self.path(client, tags=["a", "b"])
        assert client.ok("PUT", path, body={"tags": ["z", "z"]}) == {"tags": ["z"]}
        assert client.ok("PUT", path, body={"tags": []}) == {"tags": []}

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    @pytest.mark.parametrize("tags", [None, "a", [1], [str(n) for n in range(51)]])
    def test_what_does_not_fit_is_422(self, client, method, tags):
        problem(client.call(method, self.path(client), body={"tags": tags}), 422)

    def test_the_union_may_not_pass_the_limit(self, client):
        path = self.path(client, tags=[f"a{n}" for n in range(49)])
        assert client.ok("POST", path, body={"tags": ["a0", "b"]})
        problem(client.call("POST", path, body={"tags": ["c"]}), 422)
        assert len(client.ok("GET", path)["tags"]) == 50


class TestArchiveAndTerminate:
    def test_archive_puts_to_sleep(self, client, clock):
        session_id = client.create()
        clock.advance(20)
        answer = client.ok("POST", f"/sessions/{session_id}/archive")
        assert (answer["status"], answer["is_archived"]) == ("suspended", True)
        assert client.state(session_id) == ("suspended", "user_request")

    @pytest.mark.parametrize(
        ("method", "part", "body"),
        [
            ("POST", "messages", {"message": "x"}),
            ("POST", "tags", {"tags": ["x"]}),
            ("PUT", "tags", {"tags": ["x"]}),
        ],
    )
    def test_an_archived_session_cannot_be_changed_until_unarchived(
        self, client, method, part, body
    ):
        session_id = client.create()
        client.ok("POST", f"/sessions/{session_id}/archive")
        problem(client.call(method, f"/sessions/{session_id}/{part}", body=body), 409)
        client.ok("POST", f"/sessions/{session_id}/unarchive")
        client.ok(method, f"/sessions/{session_id}/{part}", body=body)

    def test_children_follow_into_the_archive_but_not_out(self, client, simulator):
        parent = client.create()
        child = simulator.add_session("org-test", "part", parent_session_id=parent)
        assert client.get(parent)["child_session_ids"] == [child]
        assert client.get(child)["parent_session_id"] == parent
        client.ok("POST", f"/sessions/{parent}/archive")
        client.ok("POST", f"/sessions/{parent}/unarchive")
        assert client.get(child)["is_archived"] is True
        assert client.get(parent)["is_archived"] is False

    @pytest.mark.parametrize(
        ("query", "archived"),
        [({}, False), ({"archive": "false"}, False), ({"archive": "true"}, True)],
    )
    def test_terminate_ends_for_good(self, client, query, archived):
        session_id = client.create()
        answer = client.ok("DELETE", f"/sessions/{session_id}", query=query)
        assert (answer["status"], answer["is_archived"]) == ("exit", archived)
        problem(client.say(session_id), 409)
        assert client.simulator.counts["sessions_terminated"] == 1

    def test_an_ended_session_stands_still(self, client, clock):
        session_id = client.create()
        clock.advance(20)
        client.ok("DELETE", f"/sessions/{session_id}")
        clock.advance(10_000)
        assert client.state(session_id) == ("exit", None)

    def test_archive_must_be_a_boolean(self, client):
        session_id = client.create()
        query = {"archive": "perhaps"}
        problem(client.call("DELETE", f"/sessions/{session_id}", query=query), 422)
        assert client.get(session_id)["status"] == "new"

    def test_twice_is_fine(self, client):
        session_id = client.create()
        for method, path in (("POST", "/archive"), ("DELETE", "")):
            for _ in range(2):
                client.ok(method, f"/sessions/{session_id}{path}")


class TestSelf:
    def test_a_service_user(self, client):
        identity = client.ok("GET", "/v3/self")
        assert identity["principal_type"] == "service_user"
        assert identity["service_user_id"] == client.get(client.create())["service_user_id"]

    def test_the_log_hides_the_key(self, client):
        client.create()
        entry = client.simulator.log[-1]
        assert entry.headers["authorization"] == "***"
        assert "cog_test" not in repr(entry)
        assert (entry.method, entry.status) == ("POST", 200)
        assert json.loads(entry.body)["prompt"] == "Fix the login"

    def test_the_log_hides_whatever_header_holds_a_secret(self, client):
        client.call("GET", "/v3/self", headers={"X-Goog-Api-Key": "k1", "X-Request-Id": "r2"})
        told = client.simulator.log[-1].headers
        assert (told["x-goog-api-key"], told["x-request-id"]) == ("***", "r2")
