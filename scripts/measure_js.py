"""Compare JavaScript engines for Python on what this project needs, and print a table.

    python scripts/measure_js.py [candidate ...]

Every candidate is installed alone, by uv, into a throw-away environment (two of them share the
import name ``quickjs``), and every check runs in a process of its own, so that an engine that
hangs or dies over one check is only a cell in the table. The expressions are what
conditions and Function blocks are made of; the rest is code that wants to run for ever, take
all memory, or break the engine. "held" means that a limit of 0.2 s or 64 MiB stopped
it, "done" that it ended by itself. ``sim_devin`` is the chosen engine as this project uses it.
Needs uv on the path, and a system other than Windows.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import files, version
from pathlib import Path
from typing import Any

LIMIT = 0.2  # seconds
MEMORY = 64 * 2**20
PATIENCE = 5.0  # seconds until a check counts as hanging
ROUNDS = 300

Evaluate = Callable[[str, float], str]

WRAP = """(async () => {
  try { return JSON.stringify({ value: await (%s) }) }
  catch (e) { return JSON.stringify({ error: String(e) }) }
})()"""

EXPRESSIONS = {
    "5 > 3": True,
    '5 == "5"': True,
    '"it\'s \\"ok\\"".includes("ok")': True,
    "({a: {b: [10, 20]}}).a.b.length === 2": True,
    "({}.zz ?? 7) === 7": True,
    '["p", "q"].some(v => v === "q")': True,
    'Number("abc") === Number("abc")': False,
    "await Promise.resolve(true)": True,
    "`${5}` === '5'": True,
    "'a' in {a: 1}": True,
    "[1, 2].at(-1)": 2,
    "[3, 1].toSorted()[0]": 1,
    "Object.groupBy([1, 2], x => x > 1 ? 'big' : 'small').big[0]": 2,
    "/(?<y>\\d+)/.exec('a12').groups.y": "12",
    "[typeof fetch, typeof require, typeof process].join()": "undefined,undefined,undefined",
    "(f => f(f, 5000))((f, n) => n ? 1 + f(f, n - 1) : 0)": 5000,
    "new Date('2024-05-06T07:08:09z').getHours()": 7,
    "'a'.localeCompare('B')": -1,
    "(1234.5).toLocaleString('de-DE')": "1.234,5",
    "new Date(0).toLocaleString('en-US', { timeZone: 'Asia/Tokyo' })": "1/1/1970, 9:00:00 AM",
}
HOSTILE = {
    "endless loop": "(() => { for (;;); })()",
    "endless promises": "(async () => { for (;;) await null })()",
    "regular expression": "/^(a+)+$/.test('a'.repeat(40) + 'b')",
    "sparse array": "(() => { const a = []; a.length = 4294967295; return a.indexOf(1) })()",
    "text search": "('a'.repeat(3e6) + 'b').lastIndexOf('a'.repeat(1.5e6) + 'c')",
    "many arrays": "(() => { const a = []; for (;;) a.push(new Array(1000).fill(7)) })()",
    "many buffers": "(() => { const a = []; for (;;) a.push(new Uint8Array(1 << 20)) })()",
    "one big buffer": "new ArrayBuffer(1 << 30).byteLength",
    "deep recursion": "(() => { const f = n => f(n + 1) + 1; return f(0) })()",
}


def quickjs() -> Evaluate:
    """Both packages that are imported as ``quickjs``."""
    engine = importlib.import_module("quickjs")

    def evaluate(code: str, limit: float) -> str:
        context = engine.Context()
        context.set_memory_limit(MEMORY)
        context.set_time_limit(limit)
        context.eval(f"{WRAP % code}.then(r => {{ globalThis.r = r }})")
        deadline = time.monotonic() + limit
        while context.execute_pending_job():
            if time.monotonic() > deadline:
                raise TimeoutError
        return str(context.eval("r"))

    return evaluate


def mini_racer() -> Evaluate:
    """V8; a fresh isolate for each evaluation."""
    engine = importlib.import_module("py_mini_racer")

    def evaluate(code: str, limit: float) -> str:
        with engine.MiniRacer() as context:
            context.set_hard_memory_limit(MEMORY)
            promise = context.eval(WRAP % code, timeout_sec=limit)
            return str(promise.get(timeout=limit))

    return evaluate


def jsbox() -> Evaluate:
    """QuickJS through Rust."""
    engine = importlib.import_module("jsbox")
    return lambda code, limit: str(
        engine.Runtime(memory_limit=MEMORY).eval(WRAP % code, timeout=limit)
    )


def quickjs_rs() -> Evaluate:
    """QuickJS compiled to WebAssembly, run by wasmtime."""
    engine = importlib.import_module("quickjs_rs")

    async def settled(context: Any, code: str, limit: float) -> str:
        return str(await context.eval_async("await " + WRAP % code, timeout=limit))

    def evaluate(code: str, limit: float) -> str:
        with engine.Runtime(memory_limit=MEMORY) as runtime, runtime.new_context() as context:
            return str(asyncio.run(settled(context, code, limit)))

    return evaluate


def ours() -> Evaluate:
    """What this project makes of the chosen engine: `sim_devin.code.javascript`."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    javascript = importlib.import_module("sim_devin.code.javascript")
    return lambda code, limit: str(
        javascript.run(f"return {WRAP % code}", {}, timeout=limit, memory=MEMORY).value
    )


# What each needs, the engine first, and how it is asked.
CANDIDATES: dict[str, tuple[tuple[str, ...], Callable[[], Evaluate]]] = {
    "sim_devin": (("quickjs-ng", "mini-racer"), ours),
    "quickjs-ng": (("quickjs-ng",), quickjs),
    "quickjs": (("quickjs",), quickjs),
    "mini-racer": (("mini-racer",), mini_racer),
    "jsbox": (("jsbox",), jsbox),
    "quickjs-rs": (("quickjs-rs", "wasmtime"), quickjs_rs),
}


def size(packages: tuple[str, ...]) -> str:
    """Return what the packages take on disk."""
    total = 0
    for name in packages:
        for file in files(name) or ():
            path = Path(str(file.locate()))
            total += path.stat().st_size if path.exists() else 0
    return f"{total / 1e6:.0f} MB"


def correct(evaluate: Evaluate) -> str:
    """Count the expressions that give what JavaScript gives."""
    right = 0
    for code, expected in EXPRESSIONS.items():
        try:
            right += json.loads(evaluate(code, 5)).get("value") == expected
        except Exception as error:
            print(code, repr(error), file=sys.stderr)
    return f"{right} of {len(EXPRESSIONS)}"


def held(evaluate: Evaluate, code: str) -> str:
    """Run hostile code, and tell how it ended, when, and at what cost in memory."""
    evaluate("1", 5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    try:
        reply = evaluate(code, LIMIT)
    except BaseException as error:
        reply = type(error).__name__
    elapsed = time.perf_counter() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    verdict = "held" if '"value"' not in reply else "done"
    if elapsed > LIMIT * 3 or grown > 2 * MEMORY / 2**20:
        verdict = "late" if elapsed > LIMIT * 3 else "too much"
    return f"{verdict} {elapsed:.1f} s" + (f" +{grown:.0f} MB" if grown > 20 else "")


def cost(evaluate: Evaluate) -> str:
    """Return the time of one small evaluation in a fresh context."""
    evaluate("1", 5)
    started = time.perf_counter()
    for _ in range(ROUNDS):
        evaluate("[1].includes(1)", 5)
    return f"{(time.perf_counter() - started) / ROUNDS * 1e6:.0f} µs"


def others_run(evaluate: Evaluate) -> str:
    """Tell whether other Python threads go on while JavaScript runs."""
    evaluate("1", 5)

    def busy() -> None:
        try:
            evaluate(HOSTILE["endless loop"], 0.5)
        except BaseException:  # the limit, whatever this engine calls it
            return

    thread = threading.Thread(target=busy)
    started = time.perf_counter()
    thread.start()
    time.sleep(0.05)
    waited = time.perf_counter() - started
    thread.join()
    return "yes" if waited < 0.3 else "no"


CHECKS: dict[str, Callable[[tuple[str, ...], Evaluate], str]] = {
    "version": lambda packages, _: version(packages[0]),
    "installed": lambda packages, _: size(packages),
    "expressions": lambda _, evaluate: correct(evaluate),
    "one evaluation": lambda _, evaluate: cost(evaluate),
    "other threads run": lambda _, evaluate: others_run(evaluate),
    **{
        name: (lambda _, evaluate, code=code: held(evaluate, code))  # type: ignore[misc]
        for name, code in HOSTILE.items()
    },
}


def check(candidate: str, name: str) -> str:
    """Run one check in an environment and a process of its own."""
    packages = ",".join(CANDIDATES[candidate][0])
    command = ["uv", "run", "--quiet", "--isolated", "--no-project", "--with", packages]
    command += ["python", __file__, "--probe", candidate, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE + 2)
    except subprocess.TimeoutExpired:
        return "hangs"
    return done.stdout.strip() if done.returncode == 0 else f"dies ({done.returncode})"


def main() -> None:
    """Print the table, or run one check of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("candidates", nargs="*", default=list(CANDIDATES))
    parser.add_argument("--probe", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        candidate, name = arguments.probe
        packages, load = CANDIDATES[candidate]
        print(CHECKS[name](packages, load()), flush=True)
        return
    print("|", " | ".join(["", *arguments.candidates]), "|")
    print("|", " | ".join(["---"] * (len(arguments.candidates) + 1)), "|")
    for name in CHECKS:
        cells = [check(candidate, name) for candidate in arguments.candidates]
        print("|", " | ".join([name, *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
