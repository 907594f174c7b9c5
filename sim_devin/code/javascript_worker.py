"""The process that JavaScript runs in: one request a line, one reply a line.

Started as a script by `sim_devin.code.javascript`; it imports nothing of this package, so that it
starts fast and holds none of its caller's memory. Its argument is the folder that holds the
engines. A request is ``timeout memory JSON``, a reply is JSON. The code runs in QuickJS, on a
thread with a stack as deep as V8's. Limits, from the inside out:

- the engine counts its heap, and stops the code with an error;
- between two steps of an asynchronous function the clock is looked at;
- the system ends the whole process at the deadline, wherever the code is.

V8 has the data of languages and zones, which QuickJS does not have, and its words for texts that it
cannot read. It is started when first asked, and runs nothing but `javascript_v8.js`.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import IO, Any

TIMEOUT = '{"stage":"timeout"}'
PENDING = '{"stage":"pending"}'
MEMORY = '{"stage":"memory"}'

_GRACE = 0.05  # seconds past the deadline, for code that is between two steps
_STACK = 17 * 1024 * 1024  # bytes: about 10,300 calls, as in V8
_RESULT_STACK = 1024 * 1024  # the engine writes a deep result slowly, and none crosses
_THREAD_STACK = 2 * _STACK  # what the engine's own functions need beyond its limit
_LANGUAGE_MEMORY = 256 * 1024 * 1024  # bytes of V8's heap


class Languages:
    """V8, asked for what depends on languages and zones; what it gives is JSON text."""

    def __init__(self) -> None:
        self._ask: Any = None

    def ask(self, request: str) -> str:
        """Return V8's answer to a request."""
        if self._ask is None:
            try:
                engine = importlib.import_module("py_mini_racer")
            except ImportError:
                return (
                    '{"error":"Error","message":"Intl, locales and zones need the package '
                    "mini-racer: pip install 'sim-devin[js]'\"}"
                )
            self.context = engine.MiniRacer()
            self.context.set_hard_memory_limit(_LANGUAGE_MEMORY)
            self._ask = self.context.eval(read("v8"))
        return str(self._ask(request))


@cache
def read(name: str) -> str:
    """Return a script that stands beside this one."""
    return Path(__file__).with_name(f"javascript_{name}.js").read_text("utf-8")


@cache
def part(name: str) -> str:
    """Return a script for the engine of workflows: a section of ``built_ins``, or a whole file."""
    sections = dict(section.split("\n", 1) for section in read("built_ins").split("\n//# ")[1:])
    return sections.get(name) or read(name)


def serve(engine: Any, requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    harness, languages = read("harness"), Languages()

    def host(verb: str, argument: str) -> str:
        return languages.ask(argument) if verb == "ask" else part(argument)

    while True:
        # Made before the request comes, so that nobody waits for it. Never used twice.
        context = engine.Context()
        context.set_max_stack_size(_STACK)
        context.add_callable("host", host)
        bridge = context.eval(harness)
        request = requests.readline()
        if not request:
            return
        timeout, memory, payload = request.split(b" ", 2)
        limit = float(timeout)
        end_after(limit + _GRACE)
        reply = answer(engine, context, bridge, payload.decode(), limit, int(memory))
        end_after(0)
        replies.write(reply.encode() + b"\n")
        replies.flush()


def end_after(seconds: float) -> None:
    """End this process after so many seconds, whatever it is doing; 0 means not at all."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)  # the signal ends a process by itself
    elif seconds:
        faulthandler.dump_traceback_later(seconds, exit=True, file=_nowhere())
    else:
        faulthandler.cancel_dump_traceback_later()


@cache
def _nowhere() -> IO[str]:
    return Path(os.devnull).open("w")


def answer(
    engine: Any, context: Any, bridge: Any, payload: str, timeout: float, memory: int
) -> str:
    """Run one request in `context` within `timeout` seconds and `memory` bytes."""
    deadline = time.monotonic() + timeout
    context.set_memory_limit(memory)
    try:
        bridge(payload)
        while time.monotonic() < deadline:
            if not context.execute_pending_job():
                break
        else:
            return TIMEOUT
        context.set_max_stack_size(_RESULT_STACK)
        report = bridge()
    except (engine.JSException, MemoryError):
        # The engine's own limit is the only error that the harness cannot catch. Out of memory it
        # often has none left to say so.
        return MEMORY
    if isinstance(report, str):
        return report
    return PENDING if time.monotonic() < deadline else TIMEOUT


def main() -> None:
    """Serve on a thread whose stack is large enough for the engine's."""
    sys.path.append(sys.argv[1])
    engine = importlib.import_module("quickjs")
    threading.stack_size(_THREAD_STACK)
    streams = sys.stdin.buffer, sys.stdout.buffer
    thread = threading.Thread(target=serve, args=(engine, *streams))
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
