import json
import pickle
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_devin.code import javascript
from sim_devin.code.javascript import JavaScriptError, evaluate, run, syntax_problem
from sim_devin.code.outcome import MISSING
from sim_devin.errors import MissingDependency
from sim_devin.specs.helper_process import HelperPool
from tests.lanes import examples

DATA = {
    "n": 5,
    "s": 'it\'s "ok"\nline2',
    "o": {"a": {"b": [10, 20]}},
    "arr": ["p", "q"],
    "flag": False,
    "nothing": None,
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("n > 3", True),
        ("n === 5", True),
        ('n == "5"', True),
        ('n === "5"', False),
        ('s.includes("ok")', True),
        ("s.split('\\n').length === 2", True),
        ("o.a.b[1] === 20", True),
        ("o.a.b.length === 2", True),
        ("n > 3 ? true : false", True),
        ("0", False),
        ("''", False),
        ("[]", True),
        ("o", True),
        ("", False),
        ("  \n ", False),
        ("true", True),
        ("flag", False),
        ("nothing", False),
        ("nothing == undefined", True),
        ("(o.zz ?? 7) === 7", True),
        ("o?.x?.y === undefined", True),
        ('arr.some(v => v === "q")', True),
        ("Math.max(n, 9) === 9", True),
        ("-n < 0", True),
        ("n>>1&&n<9", True),
        ('`${n}` === "5"', True),
        ('"a" in o', True),
        ('Number("abc") === Number("abc")', False),
        ("String(1.0) === '1'", True),
        ("typeof missing === 'undefined'", True),
        ("await Promise.resolve(true)", True),
        ("await (async () => n === 5)()", True),
        ("true // said at the end", True),
        ("/^it/.test(s)", True),
        ("Object.keys(o).length === 1", True),
        ("JSON.parse('{\"x\":1}').x === 1", True),
        ("n > 1\n&& n < 9", True),
    ],
)
def test_a_condition_is_javascript(expression, expected):
    assert evaluate(expression, DATA) is expected


@pytest.mark.parametrize(
    ("expression", "kind", "line", "message"),
    [
        ("null.x", "type", 1, "Cannot read properties of null (reading 'x')"),
        ("undefinedVar > 1", "reference", 1, "undefinedVar is not defined"),
        ("1 +\nundefinedVar", "reference", 2, "undefinedVar is not defined"),
        ("true;", "syntax", 1, "Syntax Error: Line 1: `true;` - missing ) after argument list"),
        ("this is not js", "syntax", 1, "Syntax Error: Line 1: `this is not js` - "),
        ('{{NOPE}} === "x"', "syntax", 1, 'Syntax Error: Line 1: `{{NOPE}} === "x"` - '),
        ("n > 1 &&\n<ghost.x> === 2", "syntax", 2, "Syntax Error: Line 2: `<ghost.x> === 2` - "),
        ("context = 1", "type", 1, "Assignment to constant variable."),
        ("(() => { throw 'as it is' })()", "thrown", None, "as it is"),
    ],
)
def test_a_condition_that_fails_says_why_and_where(expression, kind, line, message):
    with pytest.raises(JavaScriptError) as raised:
        evaluate(expression, {"n": 5, "context": {}})
    assert (raised.value.kind, raised.value.line) == (kind, line)
    assert raised.value.message.startswith(message)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("return [s, n, o]", [DATA["s"], 5, DATA["o"]]),
        ("return `v: ${JSON.stringify(o)}`", 'v: {"a":{"b":[10,20]}}'),
        ("// a comment only\nreturn 1", 1),
        ("return arr.map(x => x.toUpperCase())", ["P", "Q"]),
        ("const [a, ...rest] = arr; return { a, rest }", {"a": "p", "rest": ["q"]}),
        ("return { a: undefined, b: NaN, c: 1 / 0, d: null }", {"b": None, "c": None, "d": None}),
        ("return [undefined, () => 1]", [None, None]),
        ("return new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("return await Promise.all([1, Promise.resolve(2)])", [1, 2]),
        ("const wait = async (x) => { await null; return x }; return wait(3)", 3),
        ("for await (const x of (async function* () { yield 4 })()) return x", 4),
        ("total = 0; for (const x of [1, 2]) total += x; return total", 3),
        ("const n = 'my own'; return n", "my own"),
        ("if (n > 1) { return 'early' }\nreturn 'late'", "early"),
        ("return null", None),
        ("return", MISSING),
        ("", MISSING),
        ("// nothing", MISSING),
        ("n + 1", MISSING),
    ],
)
def test_a_function_returns_json(body, value):
    assert run(body, DATA).value == value


def test_printed_lines_are_collected():
    outcome = run(
        "console.log('a', 1, null, undefined, { b: [1] });\n"
        "console.info(true); console.debug('d'); console.warn('w'); console.error('e', 2)\n"
        "const own = {}; own.own = own; console.log(own)",
        {},
    )
    assert outcome.stdout.split("\n") == [
        'a 1 null undefined {"b":[1]}',
        "true",
        "d",
        "WARN: w",
        "ERROR: e 2",
        "[object Object]",
    ]


@pytest.mark.parametrize(
    ("body", "kind", "line", "message"),
    [
        (
            'const a = 1\nthrow new Error("boom")',
            "thrown",
            2,
            'Line 2: `throw new Error("boom")` - boom',
        ),
        ("throw 'plain'", "thrown", None, "plain"),
        ("throw { message: 'from an object' }", "thrown", None, "from an object"),
        ("throw { code: 7 }", "thrown", None, '{"code":7}'),
        (
            "return <ghost.x>",
            "syntax",
            1,
            "Syntax Error: Line 1: `return <ghost.x>` - Unexpected token '<'",
        ),
        (
            "\n\n  missing.call()",
            "reference",
            3,
            "Reference Error: Line 3: `missing.call()` - missing is not defined",
        ),
        (
            "const x = null\nreturn x.y",
            "type",
            2,
            "Type Error: Line 2: `return x.y` - Cannot read properties of null (reading 'y')",
        ),
        (
            "const f = async () => {\n  await null\n  throw new TypeError('t')\n}\nawait f()",
            "type",
            3,
            "Type Error: Line 3: `throw new TypeError('t')` - t",
        ),
        (
            "function inner() {\n  return JSON.parse('{')\n}\nreturn inner()",
            "syntax",
            2,
            "Syntax Error: Line 2: `return JSON.parse('{')` - ",
        ),
        ("throw new RangeError('r')", "range", 1, "RangeError: Line 1: "),
        (
            "const e = () => Object.assign(new Error('o'), { name: 'Own' })\n\nthrow e()",
            "thrown",
            1,
            "Own: Line 1: ",
        ),
        ("let a = 1\nlet a = 2", "syntax", 2, "Syntax Error: Line 2: `let a = 2` - "),
        ("return 10n", "type", None, "Type Error: "),
        ("const o = {}; o.o = o; return o", "type", None, "Type Error: "),
        (
            "const e = new Error('e'); e.stack = 'at f (<input>:999:1)'; throw e",
            "thrown",
            1,
            "Line",
        ),
        ("throw { get message() { throw 1 } }", "thrown", None, "an error that cannot be shown"),
        ("import x from 'y'", "syntax", 1, "Syntax Error: Line 1: "),
        ("'\u2028\x0b'\nthrow 1 .x.y", "type", 2, "Type Error: Line 2: `throw 1 .x.y` - "),
    ],
)
def test_a_function_that_fails_says_why_and_where(body, kind, line, message):
    with pytest.raises(JavaScriptError) as raised:
        run(body, {})
    assert (raised.value.kind, raised.value.line) == (kind, line)
    assert raised.value.message.startswith(message)


def test_a_failed_function_keeps_what_it_printed():
    with pytest.raises(JavaScriptError) as raised:
        run("console.log('before')\nthrow new Error('x')", {})
    assert raised.value.stdout == "before"


def test_an_error_can_be_pickled():
    with pytest.raises(JavaScriptError) as raised:
        run("\nthrow new Error('x')", {})
    copy = pickle.loads(pickle.dumps(raised.value))
    assert str(copy) == str(raised.value)
    assert (copy.kind, copy.line, copy.detail) == ("thrown", 2, "x")


@pytest.mark.parametrize(
    "body",
    [
        "for (;;);",
        "for (;;) { try { for (;;); } catch {} }",
        "for (;;) await null",
        "await null; for (;;);",
        "const f = async () => { await 1; for (;;); }; try { await f() } catch {}\nreturn 5",
        "return /^(a+)+$/.test('a'.repeat(40) + 'b')",
        "const a = []; a.length = 4294967295; return a.indexOf(1)",
        # The engine does not look at its limit in here: the helper process is ended.
        "return ('a'.repeat(3e6) + 'b').lastIndexOf('a'.repeat(1.5e6) + 'c')",
    ],
)
def test_time_is_limited(body):
    with pytest.raises(JavaScriptError) as raised:
        run(body, {}, timeout=0.2)
    assert raised.value.kind == "timeout"
    assert "0.2 s" in raised.value.message
    assert run("return 1", {}).value == 1


def test_a_promise_that_nothing_settles_is_not_waited_for():
    with pytest.raises(JavaScriptError, match="can never settle") as raised:
        run("await new Promise(() => {})", {}, timeout=60)
    assert raised.value.kind == "timeout"


@pytest.mark.parametrize(
    "body",
    [
        "const a = []; for (;;) a.push(new Array(1000).fill(7))",
        "const a = []; for (;;) a.push({ x: 1 })",
        "const a = []; for (;;) a.push('x' + a.length)",
        "return new ArrayBuffer(1 << 30).byteLength",
        "const a = []; for (;;) a.push(new Uint8Array(1 << 20))",
        "const a = []; for (;;) console.log('x'.repeat(1e5))",
    ],
)
def test_memory_is_limited(body):
    with pytest.raises(JavaScriptError) as raised:
        run(body, {}, memory=8 * 2**20)
    assert raised.value.kind == "memory"
    assert "8 MiB" in raised.value.message


def test_bindings_count_as_memory():
    with pytest.raises(JavaScriptError) as raised:
        run("return 1", {"big": ["x" * 1000] * 5000}, memory=2**20)
    assert raised.value.kind == "memory"


@pytest.mark.parametrize(
    "body",
    [
        "const f = (n) => f(n + 1) + 1; return f(0)",
        "function* g() { yield* g() }\nreturn [...g()]",
        "const g = (n) => JSON.stringify({ toJSON: () => g(n + 1) }); return g(0)",
    ],
)
def test_recursion_is_limited(body):
    with pytest.raises(JavaScriptError) as raised:
        run(body, {})
    assert raised.value.kind == "range"


@pytest.mark.parametrize("depth", [50_000, 200_000])
def test_data_nested_too_deeply_is_an_error(depth):
    deep = []
    for _ in range(depth):
        deep = [deep]
    with pytest.raises(JavaScriptError) as raised:
        run("return 1", {"deep": deep})
    assert raised.value.kind == "range"
    with pytest.raises(JavaScriptError) as raised:
        run(f"let a = 1; for (let i = 0; i < {depth}; i++) a = [a]; return a", {})
    assert raised.value.kind == "range"


@pytest.mark.parametrize(
    "name", ["fetch", "require", "process", "setTimeout", "XMLHttpRequest", "Buffer"]
)
def test_there_is_no_way_out(name):
    assert run(f"return typeof {name}", {}).value == "undefined"
    with pytest.raises(JavaScriptError, match="has no network") as raised:
        run(f"\n{name}('x')", {})
    assert (raised.value.kind, raised.value.line) == ("reference", 2)


def test_no_file_can_be_imported(tmp_path):
    module = tmp_path / "module.js"
    module.write_text("export default 1")
    with pytest.raises(JavaScriptError, match="could not load module"):
        run("return (await import(path)).default", {"path": str(module)})


def test_nothing_but_the_language_is_there():
    names = run("return Object.getOwnPropertyNames(globalThis)", {}).value
    suspicious = {"std", "os", "bjson", "print", "scriptArgs", "loadScript", "WebAssembly", "gc"}
    assert not suspicious & set(names)


def test_evaluations_do_not_see_each_other():
    run(
        "Array.prototype.includes = () => 'changed'; Object.prototype.extra = 1;"
        "globalThis.left = 1; JSON.stringify = null; console.log = null; Promise = null",
        {},
    )
    outcome = run(
        "console.log('still'); return [[1].includes(2), ({}).extra === undefined, typeof left]", {}
    )
    assert outcome == ([False, True, "undefined"], "still")


@pytest.mark.parametrize(
    "body",
    [
        "Promise.prototype.then = null; await 1; return 'mine'",
        "JSON.stringify = () => 'forged'; Object.prototype.value = 'forged'; return 'mine'",
        "Object.prototype.toJSON = () => ({ stage: 'done', value: 'forged' }); return 'mine'",
        "Object.defineProperty(Object.prototype, 'stage', { set() { throw 1 } }); return 'mine'",
        "globalThis.eval = null; globalThis.String = null; return 'mine'",
    ],
)
def test_changed_builtins_do_not_change_the_report(body):
    assert run(body, {}).value == "mine"


def test_values_are_data_and_never_source():
    hostile = {
        "a": "'; throw 1; '",
        "b": "`${globalThis.x = 1}`",
        "c": "</script>\u2028\u2029\0\ud800",
        "__proto__": {"x": 1},
    }
    outcome = run("return [v, globalThis.x, v.x]", {"v": hostile})
    assert outcome.value == [hostile, None, None]


@pytest.mark.parametrize("name", ["a b", "a}", "a=1", "", "1a", "a\n", "é"])
def test_a_binding_needs_the_name_of_a_constant(name):
    with pytest.raises(ValueError, match="constant name"):
        run("return 1", {name: 1})


SAFE = 2**53 - 1
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-SAFE, SAFE)
    | st.floats(-SAFE, SAFE)  # beyond, digits and not the binary value cross
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None, max_examples=examples(60))
@given(value=json_values)
def test_json_values_cross_both_ways(value):
    assert run("return value", {"value": value}).value == value
    assert run("return JSON.stringify(value)", {"value": value}).value is not None


def test_what_json_has_no_word_for_crosses_as_javascript_would_write_it():
    value = {"nan": float("nan"), "inf": [float("-inf")], "gone": MISSING, "list": [MISSING]}
    assert run("return v", {"v": value}).value == {"nan": None, "inf": [None], "list": [None]}


@settings(deadline=None, max_examples=examples(60))
@given(source=st.text(st.sampled_from("ab1 \n'\"`(){}[];,=+/*\\$.<>"), max_size=20))
def test_any_text_ends_with_a_value_or_a_javascript_error(source):
    for kind, ask in (("expression", evaluate), ("function", run)):
        problem = syntax_problem(source, kind=kind)
        failure = None
        try:
            ask(source, {}, timeout=2)
        except JavaScriptError as error:
            failure = error
        assert problem is None or failure.kind == "syntax"
        if failure and failure.line is not None:
            assert 1 <= failure.line <= source.count("\n") + 1


@pytest.mark.parametrize(
    ("source", "kind", "line"),
    [
        ("n > 1", "expression", None),
        ("", "expression", None),
        ("n > 1;", "expression", 1),
        ("n >\n1 1", "expression", 2),
        ("return 1", "expression", 1),
        ("const a = 1\nreturn await a", "function", None),
        ("throw new Error('not run')", "function", None),
        ("for (;;);", "function", None),
        ("const a = 1\n\nreturn )", "function", 3),
        ("if (true) {", "function", 1),
    ],
)
def test_syntax_can_be_checked_without_running(source, kind, line):
    problem = syntax_problem(source, kind=kind)
    assert (problem and problem[0]) == line
    assert problem is None or problem[1]


def test_threads_evaluate_at_once():
    results = {}

    def work(number):
        results[number] = [run("return n * 2", {"n": number}).value for _ in range(10)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [number * 2] * 10 for number in range(8)}


def test_one_thread_out_of_time_does_not_hold_up_another():
    caught = []

    def endless():
        try:
            run("for (;;);", {}, timeout=0.5)
        except JavaScriptError as error:
            caught.append(error.kind)

    thread = threading.Thread(target=endless)
    thread.start()
    done = 0
    while thread.is_alive():
        assert evaluate("true", {}, timeout=5)
        done += 1
    assert caught == ["timeout"]
    assert done > 1


def test_a_long_limit_is_fine():
    assert evaluate("true", {}, timeout=10**12)


def test_a_helper_that_was_killed_is_replaced():
    assert evaluate("true", {})
    assert javascript._pool._idle
    for worker in javascript._pool._idle:
        worker.kill()
    assert evaluate("true", {})


def test_without_the_engine_the_error_names_the_extra(monkeypatch):
    assert javascript.available()
    monkeypatch.setattr(javascript, "_pool", HelperPool(javascript._start))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not javascript.available()
    for ask in (
        lambda: evaluate("true", {}),
        lambda: run("return 1", {}),
        lambda: syntax_problem("1", kind="expression"),
    ):
        with pytest.raises(MissingDependency, match=r"sim-devin\[js\]"):
            ask()


def test_the_engine_is_not_loaded_into_the_caller():
    code = (
        "import sys, json; from sim_devin.code import javascript as j; j.evaluate('true', {});"
        "print(json.dumps([m for m in sys.modules if 'quickjs' in m]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    assert done.stderr == ""
