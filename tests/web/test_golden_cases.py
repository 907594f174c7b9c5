"""The engine and the page read references and forms alike: one file of cases for both."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from sim_devin.blocks import FormField
from sim_devin.engine.references import EnvName, Reference, normalise, split

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "golden" / "references.json"
GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))
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
    assert normalise(name) == expected


@pytest.mark.parametrize(("text", "expected"), GOLDEN["split"])
def test_the_engine_reads_references_so(text, expected):
    assert [shown(segment) for segment in split(text)] == expected


@pytest.mark.parametrize("case", GOLDEN["renamed"], ids=lambda case: case["text"])
def test_what_is_renamed_is_what_the_engine_takes_for_a_reference(case):
    """A rename changes the heads that mean the block, and not a letter else."""

    def renamed(segment):
        if not isinstance(segment, Reference) or normalise(segment.head) != normalise(case["from"]):
            return segment if isinstance(segment, str) else segment.text
        return f"<{normalise(case['to'])}{segment.text[1 + len(segment.head) :]}"

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


def test_the_page_agrees_on_texts_of_all_sorts(page_side):
    pieces = ["<", ">", ".", "[", "]", "0", "12", " ", "a", "Ask", "{{", "}}", "=", "/", "\n", "é"]
    chance = random.Random(0)
    texts = {"".join(chance.choices(pieces, k=chance.randint(1, 12))) for _ in range(3000)}
    cases = [[text, [shown(segment) for segment in split(text)]] for text in sorted(texts)]
    assert sum(len(segments) > 1 for _, segments in cases) > 100
    assert page_side({"names": [], "split": cases, "renamed": [], "fields": []}) == []


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
