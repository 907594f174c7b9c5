import os
import pickle
import sys
import threading

import pytest

from sim_devin.code.outcome import MISSING
from sim_devin.code.python_code import PythonError, run_python

POSIX = os.name == "posix"


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("return 1", 1),
        ("", None),
        ("# nothing", None),
        ("return None", None),
        ("return [data['n'], True, None, 'é\u2028']", [5, True, None, "é\u2028"]),
        ("x = '''a\n  b'''\nreturn x", "a\n  b"),
        ("if data['n'] > 1:\n    return 'early'\nreturn 'late'", "early"),
        ("return {'t': (1, 2.5), 'nan': float('nan')}", {"t": [1, 2.5], "nan": None}),
        ("import json, math\nreturn json.loads('[1]') + [math.floor(2.7)]", [1, 2]),
        ("def double(x):\n    return 2 * x\nreturn [double(x) for x in data['list']]", [2, 4]),
        ("global data\ndata = 1\nreturn data", 1),
        ("return __name__", "__main__"),
    ],
)
def test_code_is_the_body_of_a_function(code, value):
    assert run_python(code, {"data": {"n": 5, "list": [1, 2]}}).value == value


def test_printed_text_is_collected():
    code = "import sys\nprint('a', 1)\nprint('b', file=sys.stderr)\nreturn 2"
    assert run_python(code, {}) == (2, "a 1\nb")


def test_what_the_code_writes_to_the_descriptor_is_no_reply():
    assert run_python("import os\nos.write(1, b'[]\\n')\nreturn 1", {}).value == 1


@pytest.mark.parametrize(
    ("code", "kind", "line", "message"),
    [
        (
            "x = 1\nraise ValueError('boom')",
            "thrown",
            2,
            "Line 2: `raise ValueError('boom')` - ValueError: boom",
        ),
        (
            "def f():\n    return nope\nreturn f()",
            "reference",
            2,
            "Line 2: `return nope` - NameError: name 'nope' is not defined",
        ),
        ("return 1 +", "syntax", 1, "Syntax Error: Line 1: `return 1 +` - "),
        ("x = 1\n  y = 2", "syntax", 2, "Syntax Error: Line 2: `y = 2` - "),
        ("return eval('1 +')", "syntax", 1, "Line 1: `return eval('1 +')` - SyntaxError: "),
        ("return 1 + 'a'", "type", 1, "Line 1: `return 1 + 'a'` - TypeError: "),
        ("return {1, 2}", "type", None, "TypeError: "),
        ("import sys\nsys.exit(3)", "thrown", 2, "Line 2: `sys.exit(3)` - SystemExit: 3"),
        ("def f(): return f()\nf()", "thrown", 1, "Line 1: `def f(): return f()` - Recursion"),
        ("assert False", "thrown", 1, "Line 1: `assert False` - AssertionError"),
        ("import os\nos._exit(3)", "crash", None, "The Python process died (status 3)"),
        ("import pydantic", "thrown", 1, "Line 1: `import pydantic` - ModuleNotFoundError: "),
    ],
)
def test_code_that_fails_says_why_and_where(code, kind, line, message):
    with pytest.raises(PythonError) as raised:
        run_python(code, {})
    assert (raised.value.kind, raised.value.line) == (kind, line)
    assert raised.value.message.startswith(message)


def test_failed_code_keeps_what_it_printed_and_can_be_pickled():
    with pytest.raises(PythonError) as raised:
        run_python("print('before')\nraise OSError('x')", {})
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (copy.stdout, copy.line, copy.kind) == ("before", 2, "thrown")
    assert str(copy) == str(raised.value)


@pytest.mark.parametrize("code", ["while True: pass", "import time\ntime.sleep(60)"])
def test_time_is_limited(code):
    with pytest.raises(PythonError) as raised:
        run_python(code, {}, timeout=0.3)
    assert raised.value.kind == "timeout"
    assert raised.value.message == "Execution timed out after 0.3 s"


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_memory_is_limited():
    with pytest.raises(PythonError) as raised:
        run_python("a = []\nwhile True: a.append('x' * 10**6)", {}, memory=100 * 2**20)
    assert (raised.value.kind, raised.value.line) == ("memory", 2)


@pytest.mark.skipif(not POSIX, reason="file sizes are limited on POSIX only")
def test_file_sizes_are_limited():
    with pytest.raises(PythonError, match="File too large"):
        run_python("with open('f', 'w') as f: f.write('x' * 20_000_000)", {})


def test_the_environment_is_empty(monkeypatch):
    monkeypatch.setenv("DEVIN_API_KEY", "cog_test_key_000000")
    names = run_python("import os\nreturn list(os.environ)", {}).value
    assert set(names) <= {"LC_CTYPE", "SYSTEMROOT"}


def test_the_folder_is_empty_and_goes_away():
    code = "import os\nopen('left', 'w').close()\nreturn [os.getcwd(), os.listdir()]"
    folder, files = run_python(code, {}).value
    assert files == ["left"]
    assert not os.path.exists(folder)  # noqa: PTH110
    assert run_python("import os\nreturn os.listdir()", {}).value == []


@pytest.mark.skipif(not POSIX, reason="process groups")
@pytest.mark.parametrize("ending", ["return 1", "time.sleep(60)"])
def test_children_end_with_the_code(tmp_path, ending):
    if run_python("import os\nreturn os.geteuid()", {}).value != 0:
        pytest.skip("only the superuser gets to start processes at all")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    seen = []

    def watch():
        with fifo.open() as reader:
            seen.append(reader.read())  # until nobody holds the other end

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = (
        "import os, subprocess, time\n"
        "writer = open(path, 'w')\n"
        "subprocess.Popen(['sleep', '60'], stdout=writer, env={'PATH': os.defpath})\n" + ending
    )
    try:
        run_python(code, {"path": str(fifo)}, timeout=1)
    except PythonError as error:
        seen.append(error.kind)
    watcher.join(timeout=10)
    assert not watcher.is_alive()
    assert "" in seen


def test_a_fork_of_the_code_gives_no_second_reply():
    if not POSIX:
        pytest.skip("forks")
    code = "import os\ntry: os.fork()\nexcept OSError: pass\nreturn 1"
    assert run_python(code, {}).value == 1


def test_threads_that_go_on_do_not_keep_the_process():
    code = (
        "import threading, time\n"
        "try: threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "except RuntimeError: pass\n"
        "return 5"
    )
    assert run_python(code, {}).value == 5


@pytest.mark.parametrize("name", ["a b", "1a", "", "a;b"])
def test_a_binding_needs_the_name_of_a_variable(name):
    with pytest.raises(ValueError, match="variable name"):
        run_python("return 1", {name: 1})


def test_bindings_are_data():
    value = {"q": "'''\n\"\"\"", "deep": [[[]]], "float": 1.5, "gone": MISSING}
    assert run_python("return value", {"value": value}).value == {
        "q": "'''\n\"\"\"",
        "deep": [[[]]],
        "float": 1.5,
    }


def test_data_nested_too_deeply_is_an_error():
    deep = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(PythonError) as raised:
        run_python("return 1", {"deep": deep})
    assert raised.value.kind == "range"


def test_a_long_limit_is_fine():
    assert run_python("return 1", {}, timeout=10**12).value == 1
