"""JavaScript as V8 gives it, in Sim's place: language, data of languages and zones, words."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim_devin
from sim_devin.code import javascript
from sim_devin.code.javascript import JavaScriptError, evaluate, run
from sim_devin.engine.workflow_check import check
from sim_devin.runs.services import AppServices
from sim_devin.specs.helper_process import HelperPool
from tests.lanes import examples
from tests.workflow.fakes import block, document, edge

ROOT = Path(__file__).parent.parent
GOLDEN = json.loads((ROOT / "tests/golden/javascript.json").read_text(encoding="utf-8"))


def test_what_differs_from_v8_is_little_and_in_the_documentation(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    sys.modules.pop("javascript_table", None)
    import javascript_table

    written = javascript_table.PAGE.read_text(encoding="utf-8")
    assert javascript_table.page(written) == written, "run scripts/javascript_table.py"
    differing = javascript_table.differences(GOLDEN)
    assert len(GOLDEN["cases"]) >= 300
    assert len(differing) <= len(GOLDEN["cases"]) * 0.05


def test_every_expression_is_recorded():
    lines = (ROOT / "tests/golden/javascript.txt").read_text(encoding="utf-8").splitlines()
    codes = [line for line in lines if line and not line.startswith("# ")]
    assert codes == [case["code"] for case in GOLDEN["cases"]], "node scripts/record_javascript.mjs"


@pytest.fixture
def elsewhere(monkeypatch):
    """Start helpers as on a machine in another country."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    pool = HelperPool(javascript._start)
    monkeypatch.setattr(javascript, "_pool", pool)
    yield
    pool.close()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("new Date(0).getHours()", 0),
        ("new Date(2024, 6, 1).toISOString()", "2024-07-01T00:00:00.000Z"),
        ("String(new Date(0))", "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)"),
        ("new Date(0).toLocaleString()", "1/1/1970, 12:00:00 AM"),
        ("Intl.DateTimeFormat().resolvedOptions().timeZone", "UTC"),
        ("(1234.5).toLocaleString()", "1,234.5"),
        ("new Date(0).toLocaleTimeString('de', { timeZone: 'Asia/Tokyo' })", "09:00:00"),
    ],
)
def test_the_machines_zone_and_language_do_not_show(expression, value, elsewhere):
    assert run(f"return {expression}", {}).value == value


@pytest.mark.parametrize(
    "body",
    [
        "const f = n => n === 0 ? 0 : 1 + f(n - 1); return f(9000)",
        "const a = n => n === 0 ? 0 : 1 + b(n - 1), b = n => a(n - 1) + 1; return a(9000)",
        "async function f(n) { return n ? 1 + await f(n - 1) : 0 }\nreturn await f(2500) * 3.6",
        "class A { f(n) { return n ? 1 + this.f(n - 1) : 0 } } return new A().f(9000)",
    ],
)
def test_code_may_call_itself_as_deep_as_in_v8(body):
    assert run(body, {}).value == 9000


TEXTS = st.text(
    st.sampled_from("aAbBzZ019 _-.,'\"!éÉèöÖüñçåß\u0301\u0308$~") | st.characters(codec="ascii"),
    max_size=6,
)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=20))
@settings(max_examples=examples(15), deadline=None)
def test_texts_compare_as_v8_compares_them_whether_it_is_asked_or_not(pairs):
    # An empty list of options means the same, and is always asked about.
    body = """
    const sorter = new Intl.Collator("de");
    return pairs.map(([a, b]) => [
      a.localeCompare(b), a.localeCompare(b, undefined, {}),
      sorter.compare(a, b), a.localeCompare(b, "de", {}),
    ]);"""
    for plain, asked, kept, asked_too in run(body, {"pairs": pairs}).value:
        assert (plain, kept) == (asked, asked_too)


def test_a_sort_of_many_names_asks_little():
    names = [f"{first}{n}" for n in range(700) for first in ("Émile ", "zoe ", "Ärger ")]
    body = "return names.sort((a, b) => a.localeCompare(b)).length"
    assert run(body, {"names": names}, timeout=60).value == len(names)


def test_what_code_changes_reaches_neither_v8_nor_the_next():
    hostile = """
    Object.prototype.toJSON = () => ({ ask: "format", of: "constructor", method: "constructor" });
    Array.prototype.map = () => "forged"; JSON.stringify = () => "{}";
    try { (1).toLocaleString("de") } catch (e) { return String(e) }"""
    assert "forged" not in str(run(hostile, {}).value)
    assert run("return (1234.5).toLocaleString('de')", {}).value == "1.234,5"
    assert run("return typeof host", {}).value == "undefined"


def test_a_stack_names_the_lines_of_the_code_alone():
    body = "function f() {\n  return JSON.parse('{')\n}\ntry { f() } catch (e) { return e.stack }"
    head, native, first, *rest = run(body, {}).value.split("\n")
    assert head == "SyntaxError: Expected property name or '}' in JSON at position 1"
    assert native == "    at parse (<anonymous>)"
    assert first == "    at f (<input>:2:15)"
    assert rest[0].startswith("    at <anonymous> (<input>:4:")


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ("a.b.c", "Type Error", "Cannot read properties of undefined (reading 'c')"),
        ("return a.go()", "Type Error", "a.go is not a function"),
        ("let a = 2", "Syntax Error", "Identifier 'a' has already been declared"),
        (
            "a.x = 1n + 1",
            "Type Error",
            "Cannot mix BigInt and other types, use explicit conversions",
        ),
        ("new RegExp('(')", "Syntax Error", "Invalid regular expression: /(/: Unterminated group"),
        (
            "new Intl.NumberFormat('en', { style: 'currency' })",
            "Type Error",
            "Currency code is required with currency style.",
        ),
    ],
)
def test_errors_are_told_in_the_words_of_v8_with_the_line(body, line, words):
    with pytest.raises(JavaScriptError) as raised:
        run(f"const a = {{}}\n{body}", {})
    assert raised.value.message == f"{line}: Line 2: `{body}` - {words}"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("return 1\nreturn new URL('x')", ["line 2: URL is not given to code, neither here nor"]),
        ("return (await fetch('https://a.b')).ok", ["line 1: fetch is not given to code here, as"]),
        ("return atob('aGk=')", ["line 1: atob is given to code here, and not in Sim's sandbox"]),
        ("return new Intl.DurationFormat('en')", ["line 1: DurationFormat is not there"]),
        ("const s = structuredClone\n  ({}); s", ["line 1: structuredClone is not given"]),
        ("return typeof URL === 'undefined' ? 1 : new URL('x')", []),
        ("const fetch = (x) => x; return fetch(1)", []),
        ("return data.process.length + data.fetch(1)", []),
        ("// fetch('x')\nreturn 'call fetch(x)' + `URL.y`", []),
        ("return new Intl.NumberFormat('de').format(1)", []),
    ],
)
def test_check_warns_of_names_that_code_does_not_have_here_or_in_sim(code, told):
    function = block("f", "function", code=code)
    made = document([block("start", "start_trigger"), function], [edge("start", "f")])
    with sim_devin.open_app(env={}, discover=False) as app:
        found = [item for item in check(made, AppServices(app)) if item.place == "f.code"]
    assert [item.level for item in found] == ["warning"] * len(told)
    for item, text in zip(found, told, strict=True):
        assert text in item.text


def test_v8_is_not_started_for_code_that_does_not_need_it(monkeypatch):
    pool = HelperPool(javascript._start)
    monkeypatch.setattr(javascript, "_pool", pool)
    assert evaluate(
        "JSON.stringify([1]).length === 3 && 'a' < 'b' && new Date(0).getDay() === 4", {}
    )
    maps = Path(f"/proc/{pool._idle[0].pid}/maps")
    if not maps.exists():
        pytest.skip("only Linux tells what a process has loaded")
    assert "mini_racer" not in maps.read_text()
    assert evaluate("'é'.localeCompare('f') < 0 && 'ß'.localeCompare('t') < 0", {})
    assert "mini_racer" in maps.read_text()
    pool.close()


def test_without_v8_the_error_names_the_extra(tmp_path, monkeypatch):
    import quickjs

    for item in Path(quickjs.__file__).parent.parent.iterdir():
        if "quickjs" in item.name:
            (tmp_path / item.name).symlink_to(item)
    monkeypatch.setattr(
        javascript,
        "_pool",
        HelperPool(lambda: javascript.start(str(javascript._WORKER), str(tmp_path))),
    )
    assert run("return 1 + 1", {}).value == 2
    with pytest.raises(JavaScriptError, match=r"pip install 'sim-devin\[js\]'"):
        run("return (1).toLocaleString()", {})
    javascript._pool.close()
