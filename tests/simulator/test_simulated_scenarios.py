"""Scenario files: what they can say, what is refused, which one is chosen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sim_devin.simulator import ScenarioError, load_scenarios, parse_scenarios

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"


def problems(data):
    with pytest.raises(ScenarioError) as caught:
        parse_scenarios(data)
    return caught.value.problems


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], "the file: expected an object, got []"),
        ({}, "steps: is missing; a list of steps is expected"),
        ({"steps": 3}, "steps: expected a list, got 3"),
        ({"steps": [], "stpes": []}, "scenario: unknown key 'stpes'; allowed are description"),
        ({"steps": [], "name": 3}, ".name: expected a non-empty text, got 3"),
        ({"steps": [3]}, "steps[0]: expected an object, got 3"),
        ({"steps": [{"at": "soon"}]}, "steps[0].at: expected a number, 0 or more, got 'soon'"),
        ({"steps": [{"at": -1}]}, "steps[0].at: expected a number, 0 or more, got -1"),
        ({"steps": [{"at": True}]}, "steps[0].at: expected a number"),
        (
            {"steps": [{}, {"ta": 1}]},
            "steps[1]: unknown key 'ta'; allowed are acus, at, attachments",
        ),
        ({"steps": [{"at": 9}, {"at": 8}]}, "steps[1].at: expected 9 or more"),
        ({"steps": [{"status": ""}]}, "steps[0].status: expected a non-empty text"),
        ({"steps": [{"status_detail": "finished"}]}, "steps[0].status_detail: needs a status"),
        ({"steps": [{"complete": "yes"}]}, "steps[0].complete: expected true or false, got 'yes'"),
        ({"steps": [{"acus": "1"}]}, "steps[0].acus: expected a number"),
        ({"steps": [{"structured_output": 3}]}, "expected an object or 'auto', got 3"),
        ({"steps": [{"pull_requests": {}}]}, "steps[0].pull_requests: expected a list"),
        ({"steps": [{"pull_requests": [{}]}]}, "steps[0].pull_requests[0].pr_url: is missing"),
        ({"steps": [{"pull_requests": [{"url": "x"}]}]}, "unknown key 'url'; allowed are pr_state"),
        (
            {"steps": [{"attachments": [{"content": "x"}]}]},
            "steps[0].attachments[0].name: is missing",
        ),
        ({"steps": [], "match": {"prompt": "("}}, "match.prompt: expected a regular expression"),
        ({"steps": [], "match": {"tags": "a"}}, "match.tags: expected a list, got 'a'"),
        ({"steps": [], "match": {"tags": [1]}}, "match.tags: expected texts, got 1"),
        ({"steps": [], "match": {"who": 1}}, "match: unknown key 'who'"),
        (
            {"steps": [], "on_message": [{"times": 0}]},
            "on_message[0].times: expected a whole number",
        ),
        (
            {"steps": [], "on_message": [{"steps": [{"at": "x"}]}]},
            "on_message[0].steps[0].at: expected",
        ),
        ({"scenarios": 3}, "scenarios: expected a list, got 3"),
        ({"scenarios": [], "more": 1}, "the file: unknown key 'more'"),
        ({"scenarios": [{"steps": [{"at": "x"}]}]}, "scenarios[0].steps[0].at: expected a number"),
        ({"scenarios": [{"name": "a", "steps": []}] * 2}, "two scenarios are named 'a'"),
    ],
)
def test_mistakes_are_named_with_their_place(data, told):
    found = problems(data)
    assert any(told in each for each in found), found


def test_all_mistakes_are_told_at_once():
    assert len(problems({"steps": [{"at": "x"}, {"acus": "y"}, {"wat": 1}]})) == 3


class TestFiles:
    def test_json_and_yaml(self, tmp_path):
        data = {"steps": [{"at": 1, "status": "running"}]}
        (tmp_path / "one.json").write_text(json.dumps(data))
        (tmp_path / "two.yaml").write_text(yaml.safe_dump({"scenarios": [data]}))
        assert [scenario.name for scenario in load_scenarios(tmp_path / "one.json")] == ["one"]
        assert [scenario.name for scenario in load_scenarios(tmp_path / "two.yaml")] == ["two-0"]

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("a.json", b"{", "is not JSON"),
            ("a.yaml", b"a: [", "is not YAML"),
            ("a.json", b"\xff", "cannot be read"),
            ("a.json", b'{"steps": 3}', "steps: expected a list"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, tmp_path, name, content, told):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ScenarioError, match=told) as caught:
            load_scenarios(path)
        assert str(path) in str(caught.value)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ScenarioError, match="cannot be read"):
            load_scenarios(tmp_path / "none.json")

    def test_yaml_says_what_to_install(self, tmp_path, monkeypatch):
        path = tmp_path / "a.yaml"
        path.write_text("steps: []")
        monkeypatch.setitem(sys.modules, "yaml", None)
        with pytest.raises(ScenarioError, match=r"sim-devin\[simulator\]"):
            load_scenarios(path)


class TestExamples:
    def test_there_are_both_kinds(self):
        assert {path.suffix for path in EXAMPLES.iterdir()} == {".json", ".yaml"}

    @pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
    def test_each_can_be_loaded(self, path):
        assert all(scenario.description for scenario in load_scenarios(path))

    def test_the_review_rounds(self, make, clock):
        client = make(scenarios=load_scenarios(EXAMPLES / "review-rounds.yaml"))
        session_id = client.create("Please review my change", title="Review")
        clock.advance(100)
        assert client.state(session_id) == ("running", "waiting_for_user")
        client.say(session_id, "Please rename it")
        clock.advance(70)
        assert "Renamed" in client.texts(session_id)[-1][1]
        assert client.state(session_id) == ("running", "waiting_for_user")
        client.say(session_id, "lgtm")
        clock.advance(30)
        assert client.state(session_id) == ("running", "finished")
        assert client.get(session_id)["pull_requests"][0]["pr_state"] == "merged"

    def test_the_outage(self, make, clock):
        client = make(scenarios=load_scenarios(EXAMPLES / "out-of-money.json"))
        session_id = client.create("x", tags=["team:payments", "other"])
        clock.advance(200)
        assert client.state(session_id) == ("suspended", "out_of_credits")
        clock.advance(3_600)
        assert client.state(session_id) == ("running", "working")
        clock.advance(200)
        assert client.state(session_id) == ("running", "finished")


class TestChoice:
    @pytest.fixture
    def scenarios(self):
        return parse_scenarios(
            {
                "scenarios": [
                    {"name": "by-prompt", "match": {"prompt": "(?i)lodash"}, "steps": []},
                    {"name": "by-both", "match": {"title": "^A", "tags": ["x"]}, "steps": []},
                    {"name": "on-request", "steps": []},
                    {"name": "fails", "steps": []},
                ]
            }
        )

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({"prompt": "Bump Lodash"}, "by-prompt"),
            ({"prompt": "x", "title": "Aha", "tags": ["x", "y"]}, "by-both"),
            ({"prompt": "x", "title": "Aha"}, "finish"),
            ({"prompt": "x", "tags": ["x"]}, "finish"),
            ({"prompt": "lodash [scenario: asks]"}, "asks"),
            ({"prompt": "[scenario:on-request] x"}, "on-request"),
        ],
    )
    def test_by_match_or_by_name(self, make, scenarios, fields, name):
        client = make(scenarios=scenarios)
        client.create(**fields)
        assert client.simulator.truth()[0]["scenario"] == name

    def test_a_custom_one_hides_a_built_in_one(self, make, scenarios, clock):
        client = make(scenarios=scenarios)
        session_id = client.create("[scenario: fails]")
        clock.advance(1_000)
        assert client.state(session_id) == ("new", None)

    def test_a_default_of_ones_own(self, make, scenarios):
        client = make(scenarios=scenarios, default_scenario="on-request")
        client.create()
        assert client.simulator.truth()[0]["scenario"] == "on-request"

    def test_an_unknown_name_is_400_with_the_known_ones(self, client):
        answer = client.call("POST", "/sessions", body={"prompt": "[scenario: nope]"})
        assert answer.status == 400
        assert "waits-when-done" in answer.json()["detail"]

    def test_one_can_be_added_later(self, client, scenarios):
        client.simulator.add_scenario(scenarios[2], default=True)
        client.create()
        assert client.simulator.truth()[0]["scenario"] == "on-request"


class TestSteps:
    def play(self, make, *steps, **rest):
        return make(
            scenarios=parse_scenarios({"name": "s", "steps": list(steps), **rest}),
            default_scenario="s",
        )

    def test_every_field(self, make, clock):
        client = self.play(
            make,
            {
                "at": 1,
                "status": "running",
                "message": "{prompt} in {repo} ({number}), {unknown} {",
                "title": "Now {session_id}",
                "category": "security",
                "subcategory": "Secrets",
                "acus": 1.5,
                "pull_requests": [{"pr_url": "https://x/{repo}", "pr_state": None}],
                "structured_output": {"k": "{repo}"},
                "attachments": [
                    {"name": "a.txt", "content": "{prompt}", "content_type": "text/plain"}
                ],
            },
        )
        session_id = client.create("Do {repo}", repos=["a/b"])
        clock.advance(1)
        session = client.get(session_id)
        assert client.texts(session_id)[1] == ("devin", "Do {repo} in a/b (1), {unknown} {")
        assert session["title"] == f"Now {session_id}"
        assert (session["category"], session["subcategory"]) == ("security", "Secrets")
        assert session["pull_requests"] == [{"pr_url": "https://x/a/b", "pr_state": None}]
        assert session["structured_output"] == {"k": "{repo}"}
        assert session["status_detail"] == "working"
        clock.advance(30)
        assert client.get(session_id)["acus_consumed"] == 1.5

    def test_auto_output_without_a_schema_is_nothing(self, make, clock):
        client = self.play(make, {"structured_output": "auto"})
        assert client.get(client.create())["structured_output"] is None

    def test_acus_never_shrink(self, make, clock):
        client = self.play(make, {"acus": 2}, {"at": 1, "acus": 1})
        session_id = client.create()
        clock.advance(100)
        assert client.get(session_id)["acus_consumed"] == 2

    def test_replies_by_match_and_times(self, make, clock):
        client = self.play(
            make,
            {"complete": True},
            on_message=[
                {"match": "(?i)stop", "steps": [{"status": "exit"}]},
                {"times": 1, "steps": [{"message": "first"}, {"at": 3, "complete": True}]},
                {"steps": [{"message": "again"}, {"at": 3, "wait_for_user": True}]},
            ],
        )
        session_id = client.create()
        said = []
        for _ in range(3):
            clock.advance(10)
            client.say(session_id, "go")
            said.append(client.texts(session_id)[-1][1])
        assert said == ["first", "again", "again"]
        clock.advance(10)
        client.say(session_id, "Stop!")
        assert client.state(session_id) == ("exit", None)

    def test_several_questions_count_time_from_each_answer(self, make, clock):
        client = self.play(
            make,
            {"at": 100, "message": "One?", "wait_for_user": True},
            {"at": 10, "message": "Two?", "wait_for_user": True},
            {"at": 10, "complete": True},
        )
        session_id = client.create()
        clock.advance(500)
        client.say(session_id)
        assert client.state(session_id) == ("running", "working")
        clock.advance(10)
        assert client.state(session_id) == ("running", "waiting_for_user")
        clock.advance(500)
        client.say(session_id)
        clock.advance(10)
        assert client.state(session_id) == ("running", "finished")

    def test_an_empty_script_leaves_a_session_new(self, make, clock):
        client = self.play(make)
        session_id = client.create()
        clock.advance(100)
        assert client.state(session_id) == ("new", None)


def test_the_heart_needs_only_the_standard_library():
    """No library and no web framework is loaded, and of the rest what holds nothing of a client."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import sim_devin.simulator, sim_devin.simulator.server, sim_devin.simulator.asgi\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "ours = {name for name in sys.modules if name.startswith('sim_devin.')}\n"
        "other = sorted(name for name in ours if not name.startswith('sim_devin.simulator'))\n"
        "print(sorted(new - sys.stdlib_module_names - {'sim_devin'}), other)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[] ['sim_devin.listener', 'sim_devin.secret_names']"
