"""The engine and the page read references and forms alike: one file of cases for both."""

import copy
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from sim_devin.engine import workflow_check
from sim_devin.engine.document import load_workflow
from sim_devin.engine.program import Program
from sim_devin.engine.references import EnvName, Reference, normalize, split
from sim_devin.runs.services import AppServices
from sim_devin.secret_names import PATTERNS, is_secret_name
from sim_devin.specs.forms import FormField
from sim_devin.testing import offline_app
from sim_devin.web.catalog import catalog

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "golden"
GOLDEN = json.loads((FOLDER / "references.json").read_text(encoding="utf-8"))
OFFERS = json.loads((FOLDER / "offers.json").read_text(encoding="utf-8"))["offers"]
FIELDS = [
    pytest.param(item, case, id=f"{item['about']} {case['values']}")
    for item in GOLDEN["fields"]
    for case in item["cases"]
]


def shown(segment):
    if isinstance(segment, Reference):
        return {"ref": segment.text, "head": segment.head, "path": list(segment.path)}
    return {"env": segment.name} if isinstance(segment, EnvName) else segment


@pytest.mark.parametrize(("name", "expected"), GOLDEN["names"])
def test_the_engine_normalises_names_so(name, expected):
    assert normalize(name) == expected


@pytest.mark.parametrize(("text", "expected"), GOLDEN["split"])
def test_the_engine_reads_references_so(text, expected):
    assert [shown(segment) for segment in split(text)] == expected


@pytest.mark.parametrize("case", GOLDEN["renamed"], ids=lambda case: case["text"])
def test_what_is_renamed_is_what_the_engine_takes_for_a_reference(case):
    """A rename changes the heads that mean the block, and not a letter else."""

    def renamed(segment):
        if not isinstance(segment, Reference) or normalize(segment.head) != normalize(case["from"]):
            return segment if isinstance(segment, str) else segment.text
        return f"<{normalize(case['to'])}{segment.text[1 + len(segment.head) :]}"

    assert "".join(renamed(segment) for segment in split(case["text"])) == case["expected"]


@pytest.mark.parametrize(("item", "case"), FIELDS)
def test_the_engine_shows_and_requires_fields_so(item, case):
    about = item["field"]
    field = FormField(
        id="field",
        shown_for=tuple(about["shownFor"]) if "shownFor" in about else None,
        required_for=tuple(about.get("requiredFor", ())),
        always_required=about.get("required", False),
        conditions={name: tuple(ids) for name, ids in about.get("conditions", {}).items()},
        operation_field=item.get("operationField", "operation"),
    )
    assert (field.shown(case["values"]), field.required(case["values"])) == (
        case["shown"],
        case["required"],
    )


@pytest.fixture(scope="module")
def app():
    with offline_app() as app:
        yield app


def offered(case):
    """Return the references of a case, as text, by the name of what they refer to."""
    found = {}
    for offer in case["offers"]:
        (segment,) = split(offer.rpartition(" · ")[0].rpartition(" ")[0] or offer.split()[0])
        if isinstance(segment, Reference):
            found.setdefault(segment.head, []).append(segment)
    return found


@pytest.mark.parametrize("case", OFFERS, ids=lambda case: case["about"])
def test_the_engine_knows_each_reference_that_is_offered(app, case):
    document = copy.deepcopy(case["document"])
    texts = " ".join(item.text for items in offered(case).values() for item in items)
    state = document["state"]
    if case["block"] in state.get("loops", {}):
        state["loops"][case["block"]]["whileCondition"] = texts
    else:
        state["blocks"][case["block"]]["subBlocks"]["prompt"]["value"] = texts
    assert texts
    found = workflow_check.check(document, AppServices(app))
    assert [str(problem) for problem in found if problem.block_id == case["block"]] == []


@pytest.mark.parametrize("case", OFFERS, ids=lambda case: case["about"])
def test_everything_that_the_engine_declares_is_offered(app, case):
    """Blocks that an edge does not lead from are not offered at all; of others nothing lacks."""
    workflow = load_workflow(case["document"])
    program = Program(workflow, AppServices(app))
    named = offered(case)
    for block in workflow.blocks.values():
        head = normalize(block.name)
        declared = program.declared_outputs(block.id)
        if head not in named or block.is_container or declared is None:
            continue
        names = {str(reference.path[0]) for reference in named[head]}
        expected = {
            name for name in declared if isinstance(split(f"<{head}.{name}>")[0], Reference)
        }
        if block.type == "start_trigger":
            assert names <= expected  # it also hands on what is rarely given
        else:
            assert names - {"error"} == expected


@pytest.fixture(scope="module")
def page_side(tmp_path_factory):
    """Return a function that asks the page's own code for where it differs from the cases."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node is installed")
    bundler = ROOT / "web" / "node_modules" / "rolldown" / "bin" / "cli.mjs"
    if not bundler.is_file():
        pytest.skip("the page's packages are not installed: make canvas")
    bundle = tmp_path_factory.mktemp("golden") / "page_side.mjs"
    source = ROOT / "tests" / "golden" / "page_side.mjs"
    built = subprocess.run(
        [node, bundler, source, "--file", bundle, "--platform", "node", "--format", "esm"],
        capture_output=True,
        text=True,
        cwd=ROOT / "web",
    )
    assert built.returncode == 0, built.stdout + built.stderr

    def page_side(golden):
        asked = subprocess.run(
            [node, bundle], input=json.dumps(golden), capture_output=True, text=True, check=True
        )
        return json.loads(asked.stdout)

    return page_side


def test_the_page_agrees_with_every_case(page_side):
    assert page_side(GOLDEN) == []


def test_the_page_offers_what_the_cases_say(page_side, app):
    specs = {item["type"]: item for item in catalog(app.registry)}
    rest = {"names": [], "split": [], "renamed": [], "fields": []}
    assert page_side({**rest, "offers": OFFERS, "specs": specs}) == []
    wrong = [{**OFFERS[0], "offers": OFFERS[0]["offers"][:-1]}]
    assert len(page_side({**rest, "offers": wrong, "specs": specs})) == 1


def test_the_page_agrees_on_texts_of_all_sorts(page_side):
    pieces = ["<", ">", ".", "[", "]", "0", "12", " ", "a", "Ask", "{{", "}}", "=", "/", "\n", "é"]
    chance = random.Random(0)
    texts = {"".join(chance.choices(pieces, k=chance.randint(1, 12))) for _ in range(3000)}
    cases = [[text, [shown(segment) for segment in split(text)]] for text in sorted(texts)]
    assert sum(len(segments) > 1 for _, segments in cases) > 100
    assert page_side({"names": [], "split": cases, "renamed": [], "fields": []}) == []


def test_the_page_takes_the_same_names_for_those_of_secrets(page_side):
    pieces = [
        *("page", "token", "tokens", "auth", "s", "1", "v2", "header", "pwd", "old", "-"),
        "_",
    ]
    pieces += ["Api", "KEY", "pass", "Pass", "by", "db", "max", "id", "password", "x", "é", " "]
    chance = random.Random(0)
    names = {"".join(chance.choices(pieces, k=chance.randint(1, 4))) for _ in range(5000)}
    cases = [[name, is_secret_name(name)] for name in sorted(names)]
    assert 500 < sum(is_secret for _, is_secret in cases) < len(cases) - 500
    rest = {"names": [], "split": [], "renamed": [], "fields": []}
    assert page_side({**rest, "secrets": {"patterns": PATTERNS, "names": cases}}) == []
    wrong = [[name, not is_secret] for name, is_secret in cases[:3]]
    assert len(page_side({**rest, "secrets": {"patterns": PATTERNS, "names": wrong}})) == 3


ROW = {"id": "r", "cells": {"Key": "Authorization", "Value": "Bearer canary"}}


@pytest.mark.parametrize(
    ("value", "leaves"),
    [
        ([ROW], [{"id": "r", "cells": {"Key": "Authorization", "Value": ""}}]),
        (json.dumps([ROW]), json.dumps([{"id": "r", "cells": {**ROW["cells"], "Value": ""}}])),
        ([{"name": "apiKey", "value": "canary"}], [{"name": "apiKey", "value": ""}]),
        ([{"variableName": "TOKEN", "value": 1234}], [{"variableName": "TOKEN", "value": ""}]),
        ([{"params": {"apiKey": "canary", "prompt": "Do it"}}], None),
        ('{"password": "canary", "user": "me"}', '{"password": "", "user": "me"}'),
        ('{"a": <start.a>, "client_secret": "canary"}', '{"a": <start.a>, "client_secret": ""}'),
        ("https://x.test/a?access_token=canary&page=2", "https://x.test/a?access_token=&page=2"),
        ("Bearer canary", "Bearer canary"),
    ],
)
def test_what_is_typed_for_a_secret_name_does_not_leave_the_page(page_side, value, leaves):
    if leaves is None:
        leaves = [{"params": {"apiKey": "", "prompt": "Do it"}}]
    cases = [[value, leaves if not isinstance(leaves, str) else compact(leaves)]]
    assert page_side(leaving(cases)) == []


@pytest.mark.parametrize(
    "value",
    [
        [{"id": "r", "cells": {"Key": "Authorization", "Value": "Bearer {{TOKEN}}"}}],
        [{"id": "r", "cells": {"Key": "X-Api-Key", "Value": "<start.key>"}}],
        [{"id": "r", "cells": {"Key": "Accept", "Value": "text/plain"}}],
        [{"name": "token", "type": "string", "value": ""}],
        '{"maxTokens": 5, "nextPageToken": "a"}',
        "const token = {a: 1}; // [",
        "https://x.test/?token={{TOKEN}}",
        {"type": "object", "properties": {"token": {"type": "string"}}},
        None,
        7,
    ],
)
def test_what_holds_no_typed_secret_leaves_as_it_is(page_side, value):
    assert page_side(leaving([[value, value]])) == []


def compact(text):
    """Return JSON as JavaScript writes it; other text as it is."""
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError:
        return text


def leaving(cases):
    rest = {"names": [], "split": [], "renamed": [], "fields": []}
    return {**rest, "secrets": {"patterns": PATTERNS, "names": [], "leaving": cases}}


def test_a_page_that_differs_would_be_seen(page_side):
    wrong = {
        "names": [["A", "A"]],
        "split": [["<a.b>", ["<a.b>"]]],
        "renamed": [{"text": "<a.b>", "from": "A", "to": "C", "expected": "<a.b>"}],
        "fields": [
            {"about": "x", "field": {}, "cases": [{"values": {}, "shown": 0, "required": 0}]}
        ],
    }
    assert len(page_side(wrong)) == 4
