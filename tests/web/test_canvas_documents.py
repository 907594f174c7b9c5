"""Workflow files: read and written whole, bytes kept, conflicts told."""

import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin.web.json_text import rewrite

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
LAYOUTS = st.sampled_from([{"indent": 2}, {"indent": "\t"}, {}, {"separators": (",", ":")}])


@given(VALUES, LAYOUTS, st.booleans())
def test_equal_values_keep_every_byte(value, layout, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only, **layout)
    assert rewrite(text, json.loads(text)) == text


@given(VALUES, VALUES, LAYOUTS)
def test_the_new_text_means_the_new_value(old, new, layout):
    assert json.loads(rewrite(json.dumps(old, **layout), new)) == new


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('{"n": 1.0, "s": "\\u00e9"}\n', {"n": 1, "s": "x"}, '{"n":1.0,"s":"x"}\n'),
        (
            '{\n  "a": [1.50, 2e3],\n  "b": 1\n}\n',
            {"a": [1.5, 2000], "b": 2},
            '{\n  "a": [1.50, 2e3],\n  "b": 2\n}\n',
        ),
        (
            '{\n  "2": 1,\n  "1": 2\n}',
            {"1": 2, "2": 1, "3": 0},
            '{\n  "2": 1,\n  "1": 2,\n  "3": 0\n}',
        ),
        (
            '{\n  "l": [\n    {"id": "x", "v": 1.0},\n    {"id": "y", "v": 2.0}\n  ]\n}',
            {"l": [{"id": "y", "v": 2}]},
            '{\n  "l": [\n    {"id": "y", "v": 2.0}\n  ]\n}',
        ),
        ("12345678901234567890", 12345678901234567000, "12345678901234567890"),
        ("not json", {"a": 1}, '{\n  "a": 1\n}\n'),
    ],
)
def test_only_what_changed_is_written_anew(old, new, expected):
    assert rewrite(old, new) == expected


def put(canvas, name, document, **headers):
    return canvas.send("PUT", f"workflows/{name}", {"document": document}, **headers)


def test_a_workflow_is_created_read_changed_and_deleted(canvas):
    document = canvas.load("first_run")
    created = put(canvas, "mine", document, if_none_match="*")
    assert created.status_code == 200
    assert canvas.get("workflows").json() == {"workflows": ["mine"]}
    read = canvas.get("workflows/mine")
    assert read.json()["document"] == document
    assert read.headers["etag"] == created.headers["etag"]
    document["state"]["metadata"] = {"name": "Changed"}
    changed = put(canvas, "mine", document, if_match=read.headers["etag"])
    assert changed.headers["etag"] != read.headers["etag"]
    stale = canvas.send("DELETE", "workflows/mine", if_match=read.headers["etag"])
    assert stale.status_code == 412
    assert canvas.send("DELETE", "workflows/mine", if_match=changed.headers["etag"]).is_success
    assert canvas.get("workflows/mine").status_code == 404


def test_a_change_of_somebody_else_is_not_overwritten(canvas):
    document = canvas.load("first_run")
    etag = put(canvas, "mine", document, if_none_match="*").headers["etag"]
    file = canvas.folder / "mine.json"
    file.write_text(file.read_text().replace("acme/web", "acme/api"))
    theirs = file.read_bytes()
    refused = put(canvas, "mine", document, if_match=etag)
    assert refused.status_code == 412
    assert refused.json()["error"]["type"] == "Changed"
    assert put(canvas, "mine", document, if_none_match="*").status_code == 412
    assert put(canvas, "mine", document).status_code == 422
    assert file.read_bytes() == theirs


def test_a_workflow_is_renamed(canvas):
    etag = put(canvas, "mine", canvas.load("first_run"), if_none_match="*").headers["etag"]
    before = (canvas.folder / "mine.json").read_bytes()
    renamed = canvas.send("POST", "workflows/mine/rename", {"to": " Yours (2) "}, if_match=etag)
    assert renamed.json() == {"name": "Yours (2)"}
    assert [item.name for item in canvas.folder.iterdir()] == ["Yours (2).json"]
    assert (canvas.folder / "Yours (2).json").read_bytes() == before
    assert canvas.get("workflows/Yours (2)").headers["etag"] == etag


@pytest.mark.parametrize(
    ("name", "to", "seen", "status"),
    [
        ("mine", "other", True, 422),  # taken
        ("mine", "mine", True, 422),
        ("mine", "../out", True, 422),
        ("mine", "", True, 422),
        ("mine", "new", False, 412),
        ("none", "new", True, 404),
    ],
)
def test_a_rename_loses_no_file(canvas, name, to, seen, status):
    etag = put(canvas, "mine", canvas.load("first_run"), if_none_match="*").headers["etag"]
    put(canvas, "other", canvas.load("first_run"), if_none_match="*")
    before = {item.name: item.read_bytes() for item in canvas.folder.iterdir()}
    headers = {"if_match": etag if seen else '"stale"'}
    answer = canvas.send("POST", f"workflows/{name}/rename", {"to": to}, **headers)
    assert answer.status_code == status
    assert {item.name: item.read_bytes() for item in canvas.folder.iterdir()} == before


def test_what_was_not_edited_keeps_its_bytes(canvas):
    text = json.dumps(canvas.load("first_run"), indent=4).replace('"y": 120', '"y": 120.0')
    (canvas.folder / "mine.json").write_text(text)
    read = canvas.get("workflows/mine")
    document = read.json()["document"]
    put(canvas, "mine", document, if_match=read.headers["etag"])
    assert (canvas.folder / "mine.json").read_text() == text
    first = next(iter(document["state"]["blocks"].values()))
    first["name"] = "Begin"
    put(canvas, "mine", document, if_match=read.headers["etag"])
    assert (canvas.folder / "mine.json").read_text() == text.replace('"Start"', '"Begin"', 1)


def test_a_file_keeps_its_mode_and_nothing_else_stays(canvas):
    etag = put(canvas, "mine", canvas.load("first_run"), if_none_match="*").headers["etag"]
    file = canvas.folder / "mine.json"
    file.chmod(0o640)
    document = canvas.load("first_run")
    document["state"]["metadata"] = {"name": "Changed"}
    put(canvas, "mine", document, if_match=etag)
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [item.name for item in canvas.folder.iterdir()] == ["mine.json"]


@pytest.mark.parametrize(
    "name", ["..%2fescape", ".hidden", "a%00b", "%20", "x" * 200, "\u6f22" * 100]
)
def test_names_that_leave_the_folder_are_refused(canvas, name):
    answer = put(canvas, name, canvas.load("first_run"), if_none_match="*")
    assert answer.status_code in (404, 405, 422)
    assert list(canvas.folder.iterdir()) == []


def test_what_is_no_workflow_is_not_written_and_not_listed(canvas):
    assert put(canvas, "mine", {"blocks": 1}, if_none_match="*").status_code == 422
    (canvas.folder / "other.json").write_text("{}")
    (canvas.folder / "broken.json").write_text("{")
    assert canvas.get("workflows").json() == {"workflows": []}
    assert canvas.get("workflows/broken").status_code == 422


def test_what_is_no_file_does_not_hide_the_files(canvas):
    put(canvas, "mine", canvas.load("first_run"), if_none_match="*")
    (canvas.folder / "folder.json").mkdir()
    (canvas.folder / "nowhere.json").symlink_to(canvas.folder / "gone")
    (canvas.folder / "nan.json").write_text('{"blocks": {}, "edges": [], "x": NaN}')
    (canvas.folder / "huge.json").write_text('{"blocks": {}, "edges": [], "x": 1e999}')
    assert canvas.get("workflows").json() == {"workflows": ["mine"]}
    for name, status in (("folder", 404), ("nowhere", 404), ("nan", 422), ("huge", 422)):
        assert canvas.get(f"workflows/{name}").status_code == status
    refused = put(canvas, "folder", canvas.load("first_run"), if_none_match="*")
    assert refused.status_code == 422
    assert refused.json()["error"]["message"].startswith("folder.json cannot be written: ")


def test_the_examples_are_templates(canvas):
    listed = canvas.get("templates").json()["templates"]
    assert "first_run" in [item["name"] for item in listed]
    assert canvas.get("templates/first_run").json()["document"] == canvas.load("first_run")
