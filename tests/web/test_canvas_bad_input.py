"""Whatever a browser or an editor leaves the canvas with: a clear answer, never a failure of it."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.durable.flows import block, flow
from tests.lanes import examples
from tests.test_json_input import BAD

FIELDS = """
document workflow inputs answer contextId message block session to deadline maxAcu fromBlock
stopAfter earlier state blocks edges value
"""
NAMES = st.sampled_from(FIELDS.split()) | st.text(max_size=3)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)
REQUESTS = [
    ("POST", "check"),
    ("POST", "runs"),
    ("POST", "runs/{run}/answer"),
    ("POST", "runs/{run}/messages"),
    ("POST", "runs/{run}/stop"),
    ("POST", "runs/nothing/resume"),
    ("PUT", "workflows/a"),
    ("POST", "workflows/a/rename"),
    ("PUT", "secrets/A"),
]


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_bodies_that_are_no_json(canvas, method, path, text):
    for body in filter(None, (text, f'{{"document": {text}}}')):
        answer = canvas.client.request(
            method,
            f"/api/{path.format(run='nothing')}",
            content=body,
            headers={"content-type": "application/json", "if-none-match": "*"},
        )
        if path == "check" and answer.status_code == 200:  # JSON all the same: a problem, no error
            assert answer.json()["problems"]
            continue
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["error"]["message"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150))
@given(request=st.sampled_from(REQUESTS), body=st.dictionaries(NAMES, VALUES, max_size=4))
def test_bodies_of_any_shape(canvas, request, body):
    method, path = request
    answer = canvas.send(method, path.format(run="nothing"), body, if_none_match="*")
    assert answer.status_code < 500, answer.text
    assert answer.json() is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150))
@given(place=st.lists(st.integers(0, 30), max_size=6), value=VALUES)
def test_documents_with_anything_anywhere(canvas, place, value):
    document = flow(block("f", "function", code="return 1"), block("w", "wait", timeValue="1"))
    node = document
    for number in place:
        keys = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        key = keys[number % len(keys)]
        if not isinstance(node[key], dict | list) or not node[key]:
            break
        node = node[key]
    keys = sorted(node) if isinstance(node, dict) else list(range(len(node)))
    node[keys[0]] = value
    for method, path in (("POST", "check"), ("POST", "runs"), ("PUT", "workflows/a")):
        answer = canvas.send(method, path, {"document": document}, if_none_match="*")
        assert answer.status_code < 500, answer.text
    (canvas.folder / "a.json").unlink(missing_ok=True)


@pytest.mark.parametrize("address", ["logs/" + "9" * 5000, "logs/x", "events?after=" + "9" * 5000])
def test_numbers_in_addresses(canvas, address):
    run = canvas.send("POST", "runs", {"document": flow(block("f", "function", code="return 1"))})
    canvas.until(run.json()["id"], "done")
    answer = canvas.get(f"runs/{run.json()['id']}/{address}")
    assert answer.status_code in (200, 404), answer.text


def test_halves_of_characters_in_a_file_are_shown_and_saved(canvas):
    document = flow(block("f", "function", code="return 1 // \ud83d"))
    (canvas.folder / "half.json").write_text(json.dumps(document))
    read = canvas.get("workflows/half")
    assert read.status_code == 200
    assert read.json()["document"] == document
    document["blocks"]["f"]["name"] = "new \udc00 name"
    written = canvas.send(
        "PUT", "workflows/half", {"document": document}, if_match=read.headers["etag"]
    )
    assert written.status_code == 200
    assert json.loads((canvas.folder / "half.json").read_text()) == document


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_files_that_are_no_json(canvas, text):
    (canvas.folder / "bad.json").write_text(text)
    (canvas.folder / "good.json").write_text(json.dumps(flow()))
    assert canvas.get("workflows").json() == {"workflows": ["good"]}
    answer = canvas.get("workflows/bad")
    assert answer.status_code == 422
    assert "bad.json" in answer.json()["error"]["message"]


# -- links ---------------------------------------------------------------------------------------


def test_a_link_is_written_through(canvas, tmp_path):
    real = tmp_path / "elsewhere" / "real.json"
    real.parent.mkdir()
    real.write_text(json.dumps(flow(), indent=4))
    real.chmod(0o640)
    link = canvas.folder / "linked.json"
    link.symlink_to(os.path.relpath(real, canvas.folder))
    assert canvas.get("workflows").json() == {"workflows": ["linked"]}
    read = canvas.get("workflows/linked")
    document = {**read.json()["document"], "variables": {"v": {"name": "v"}}}
    answer = canvas.send(
        "PUT", "workflows/linked", {"document": document}, if_match=read.headers["etag"]
    )
    assert answer.status_code == 200
    assert link.is_symlink()
    assert json.loads(real.read_text()) == document
    assert real.stat().st_mode & 0o777 == 0o640
    assert [item.name for item in real.parent.iterdir()] == ["real.json"]


def test_a_renamed_link_leads_where_it_did_and_a_deleted_one_leaves_the_file(canvas, tmp_path):
    real = tmp_path / "real.json"
    real.write_text(json.dumps(flow()))
    (canvas.folder / "linked.json").symlink_to(real)
    etag = canvas.get("workflows/linked").headers["etag"]
    canvas.send("POST", "workflows/linked/rename", {"to": "other"}, if_match=etag)
    assert (canvas.folder / "other.json").is_symlink()
    assert not (canvas.folder / "linked.json").is_symlink()
    assert canvas.send("DELETE", "workflows/other", if_match=etag).status_code == 200
    assert real.exists()
    assert list(canvas.folder.iterdir()) == []


@pytest.mark.parametrize("target", ["missing.json", "itself.json", "/dev/zero", "."])
def test_links_that_lead_nowhere_are_named_and_left_alone(canvas, target):
    link = canvas.folder / "itself.json"
    link.symlink_to(target)
    assert canvas.get("workflows").json() == {"workflows": []}
    document = {"document": flow()}
    for answer in (
        canvas.get("workflows/itself"),
        canvas.send("PUT", "workflows/itself", document, if_none_match="*"),
        canvas.send("PUT", "workflows/itself", document, if_match='"x"'),
        canvas.send("DELETE", "workflows/itself", if_match='"x"'),
    ):
        assert answer.status_code in (404, 422), answer.text
        error = answer.json()["error"]
        assert "itself" in error["message"]
        if target == "missing.json":
            assert "a link to missing.json" in error["message"] + error["hint"]
    assert link.is_symlink()
