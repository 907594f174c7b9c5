"""Whatever is asked, in whatever order, the answers fit the contract in `contract.json`."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from sim_devin.simulator import SimClock, Simulator, Switches
from sim_devin.simulator.builtin_scenarios import BUILTINS
from tests.lanes import examples

CONTRACT = json.loads(Path(__file__).with_name("contract.json").read_text())
PREFIX = "/v3/organizations/org-a"
HEADERS = {"Authorization": "Bearer cog_x", "Content-Type": "application/json"}
ERRORS = {400, 401, 403, 404, 405, 409, 413, 422}


def validator(name):
    jsonschema.Draft202012Validator.check_schema(CONTRACT)
    schema = {"$ref": f"#/$defs/{name}", "$defs": CONTRACT["$defs"]}
    return jsonschema.Draft202012Validator(schema)


VALIDATORS = {name: validator(name) for name in CONTRACT["$defs"]}


def check(name, data):
    error = jsonschema.exceptions.best_match(VALIDATORS[name].iter_errors(data))
    assert error is None, f"{name}: {error.json_path}: {error.message}"


def check_error(answer, legacy):
    assert answer.status in ERRORS
    media_type = "application/json" if legacy else "application/problem+json"
    assert answer.headers["Content-Type"] == media_type
    check("LegacyError" if legacy else "ProblemDetail", answer.json())
    if not legacy:
        assert answer.json()["status"] == answer.status


def _switches():
    """Any setting of the switches that the contract, and not drift from it, covers."""
    fixed = {"drift_detail", "tag_limit", "continuation_seconds", "platforms", "allowed_tags"}
    values = {}
    for name, default, allowed, _ in Switches.describe():
        if allowed:
            values[name] = st.sampled_from(allowed)
        elif isinstance(default, bool):
            values[name] = st.booleans()
        elif isinstance(default, float) and name not in fixed:
            values[name] = st.sampled_from([0.0, 7.0, 1_000.0])
    values["quota_status"] = st.just(403)  # the others are in no published contract
    values["out_of_quota"] = st.sampled_from([False, False, False, True])
    return st.builds(Switches, **values)


PROMPTS = st.sampled_from(
    ["Fix it", "", *(f"[scenario: {name}]" for name in BUILTINS if name != "unknown-status")]
)
TAGS = st.lists(st.sampled_from([f"t{n}" for n in range(60)]), max_size=30)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)
PATHS = (
    "/sessions", "/sessions/x", "/sessions/{}", "/sessions/{}/messages", "/sessions/{}/tags",
    "/sessions/{}/attachments", "/sessions/{}/archive", "/attachments", "/attachments/a/b", "/",
    "/sessions/%ff/%00", "/other",
)  # fmt: skip
BODY_FIELDS = (
    "prompt", "title", "tags", "repos", "max_acu_limit", "session_secrets", "attachment_urls",
    "structured_output_schema", "devin_mode", "platform", "message", "message_as_user_id",
    "resumable",
)  # fmt: skip
QUERY_FIELDS = (
    "first", "after", "session_ids", "tags", "created_after", "updated_before", "origins",
    "is_archived", "category", "archive", "devin_id", "parent_session_id",
)  # fmt: skip


class Conversation(RuleBasedStateMachine):
    """Random requests and clock advances against one simulator."""

    sessions = Bundle("sessions")

    @initialize(switches=_switches())
    def start(self, switches):
        self.clock = SimClock(1_800_000_000, speed=0)
        self.simulator = Simulator(clock=self.clock, switches=switches, seed=0)
        self.tags = {}
        self.last = {}

    def call(self, method, path, contract, *, query=(), body=None):
        content = b"" if body is None else json.dumps(body).encode()
        answer = self.simulator.handle(method, PREFIX + path, query, HEADERS, content)
        if answer.status != 200:
            check_error(answer, self.simulator.switches.error_body == "legacy")
            return None
        check(contract, answer.json())
        return answer.json()

    @rule(
        target=sessions,
        prompt=PROMPTS,
        tags=TAGS,
        schema=st.sampled_from([None, {"type": "object", "properties": {"a": {"type": "string"}}}]),
        limit=st.sampled_from([None, 1, 8]),
    )
    def create(self, prompt, tags, schema, limit):
        body = {
            "prompt": prompt,
            "tags": tags,
            "structured_output_schema": schema,
            "max_acu_limit": limit,
        }
        session = self.call("POST", "/sessions", "ChangedSession", body=body)
        if session is None:
            return multiple()
        self.tags[session["session_id"]] = list(dict.fromkeys(tags))
        return session["session_id"]

    @rule(seconds=st.sampled_from([1, 4, 30, 120, 2_000, 40 * 86_400]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule(session_id=sessions)
    def get(self, session_id):
        session = self.call("GET", f"/sessions/{session_id}", "SessionResponse")
        if session is not None:
            before = self.last.get(session_id, session)
            for name in ("updated_at", "acus_consumed"):
                assert session[name] >= before[name]
            assert session["tags"] == self.tags[session_id]
            self.last[session_id] = session

    @rule(size=st.integers(1, 3), tags=st.lists(st.sampled_from(["t1", "t2"]), max_size=2))
    def walk_the_list(self, size, tags):
        seen, after = [], []
        while True:
            query = [("first", str(size)), *(("tags", tag) for tag in tags), *after]
            page = self.call("GET", "/sessions", "SessionPage", query=query)
            assert len(page["items"]) <= size
            seen += [item["session_id"] for item in page["items"]]
            if not page.get("has_next_page"):
                break
            after = [("after", page["end_cursor"])]
        assert len(seen) == len(set(seen))
        assert set(seen) <= set(self.tags)

    @rule(session_id=sessions)
    def send_message(self, session_id):
        path = f"/sessions/{session_id}/messages"
        before = self.simulator.counts["messages_stored"]
        answer = self.call("POST", path, "ChangedSession", body={"message": "Go on"})
        stored = self.simulator.counts["messages_stored"] - before
        assert stored == (answer is not None)

    @rule(session_id=sessions, size=st.integers(1, 4))
    def list_messages(self, session_id, size):
        path = f"/sessions/{session_id}/messages"
        self.call("GET", path, "MessagePage", query=[("first", str(size))])

    @rule(session_id=sessions)
    def list_attachments(self, session_id):
        self.call("GET", f"/sessions/{session_id}/attachments", "AttachmentList")

    @rule(session_id=sessions, method=st.sampled_from(["GET", "POST", "PUT"]), tags=TAGS)
    def tag(self, session_id, method, tags):
        body = None if method == "GET" else {"tags": tags}
        answer = self.call(method, f"/sessions/{session_id}/tags", "Tags", body=body)
        if answer is not None:
            known = self.tags[session_id]
            wanted = {"GET": known, "PUT": tags, "POST": [*known, *tags]}[method]
            self.tags[session_id] = list(dict.fromkeys(wanted))
            assert answer["tags"] == self.tags[session_id]

    @rule(session_id=sessions, verb=st.sampled_from(["archive", "unarchive"]))
    def archive(self, session_id, verb):
        answer = self.call("POST", f"/sessions/{session_id}/{verb}", "ChangedSession")
        if answer is not None:
            assert answer["is_archived"] is (verb == "archive")

    @rule(session_id=sessions, archive=st.booleans())
    def terminate(self, session_id, archive):
        query = [("archive", str(archive).lower())]
        answer = self.call("DELETE", f"/sessions/{session_id}", "ChangedSession", query=query)
        if answer is not None:
            assert answer["status"] in ("exit", "error")

    @rule()
    def ask_who_i_am(self):
        answer = self.simulator.handle("GET", "/v3/self", [], HEADERS)
        check("Self", answer.json())

    @rule(
        method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
        path=st.sampled_from(PATHS),
        body=st.one_of(JSON, st.dictionaries(st.sampled_from(BODY_FIELDS), JSON, max_size=4)),
        query=st.lists(st.tuples(st.sampled_from(QUERY_FIELDS), st.text(max_size=9)), max_size=3),
    )
    def talk_nonsense(self, method, path, body, query):
        known = next(iter(self.tags), "x")
        content = json.dumps(body).encode()
        where = PREFIX + path.format(known)
        answer = self.simulator.handle(method, where, query, HEADERS, content)
        assert answer.status in ERRORS | {200}
        if answer.status != 200:
            check_error(answer, self.simulator.switches.error_body == "legacy")
        elif method in ("POST", "PUT", "DELETE"):
            # It made sense after all; take over what it changed.
            prefix = "" if self.simulator.switches.session_id == "bare" else "devin-"
            truth = self.simulator.truth()
            self.tags = {prefix + item["session_id"]: item["tags"] for item in truth}

    def teardown(self):
        if hasattr(self, "simulator"):
            assert self.simulator.counts["sessions_created"] == len(self.simulator.truth())


Conversation.TestCase.settings = settings(
    max_examples=examples(120),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestConversation = Conversation.TestCase


@pytest.fixture
def answers(client, clock):
    """One real answer for each definition of the contract."""
    session_id = client.create(
        tags=["a"],
        structured_output_schema={"properties": {"a": {}}},
        attachment_urls=["https://a.example/b.txt"],
    )
    created = client.ok("POST", f"/sessions/{session_id}/archive")
    client.ok("POST", f"/sessions/{session_id}/unarchive")
    client.say(session_id)
    clock.advance(300)
    session = client.get(session_id)
    messages = client.messages(session_id, first=2)
    listed = client.ok("GET", f"/sessions/{session_id}/attachments")
    upload = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--'
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    problem = client.call("POST", "/sessions", body={}).json()
    return {
        "SessionResponse": session,
        "ChangedSession": created,
        "SessionPage": client.list(first=1),
        "MessagePage": messages,
        "SessionMessage": messages["items"][0],
        "PullRequest": session["pull_requests"][0],
        "SessionAttachment": listed[0],
        "AttachmentList": {"items": listed},
        "AttachmentUpload": client.ok("POST", "/attachments", data=upload, headers=form),
        "Tags": client.ok("GET", f"/sessions/{session_id}/tags"),
        "Self": client.ok("GET", "/v3/self"),
        "ProblemDetail": problem,
        "FieldError": problem["errors"][0],
        "LegacyError": {"detail": problem["errors"]},
    }


def test_the_checker_notices_what_is_missing_or_of_another_kind(answers):
    """A check that nothing can fail proves nothing: spoil every required field in turn."""
    spoilt = 0
    for name, answer in answers.items():
        check(name, answer)
        for field in required(name):
            for change in ({}, {field: object}):
                wrong = copy.deepcopy(answer)
                del wrong[field]
                if change:
                    wrong[field] = {"not": "this"}
                assert not VALIDATORS[name].is_valid(wrong), (name, field, change)
                spoilt += 1
    assert spoilt > 60


def required(name):
    definition = CONTRACT["$defs"][name]
    if "$ref" in definition:
        return required(definition["$ref"].rsplit("/", 1)[1])
    branches = [branch for branch in definition.get("oneOf", ()) if "required" in branch]
    return definition["required"] if "required" in definition else branches[0]["required"]


def test_the_checker_notices_a_new_value(answers):
    for field, value in (("status", "dreaming"), ("status_detail", "x"), ("category", "x")):
        assert not VALIDATORS["SessionResponse"].is_valid(
            {**answers["SessionResponse"], field: value}
        )


def test_the_checker_notices_a_session_that_says_too_much(answers):
    assert not VALIDATORS["ChangedSession"].is_valid(answers["SessionResponse"])


def test_no_field_is_shown_that_the_contract_does_not_know(answers):
    for name in ("SessionResponse", "SessionMessage", "SessionAttachment", "ProblemDetail"):
        assert answers[name].keys() == CONTRACT["$defs"][name]["properties"].keys()
