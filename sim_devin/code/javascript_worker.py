"""The process that JavaScript runs in: one request a line, one reply a line.

Started as a script by `sim_devin.code.javascript`; it imports nothing of this package, so that it
starts fast and holds none of its caller's memory. Its argument is the folder that holds the
engine. A request is ``timeout memory JSON``, a reply is JSON. Limits, from the inside out:

- the engine counts CPU time and heap, and stops the code with an error;
- between two steps of an asynchronous function the clock on the wall is looked at;
- a thread in C ends the whole process a moment after the deadline, since the engine does not
  look at its own limit inside a long built-in (a search in a huge text, say).
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

TIMEOUT = '{"stage":"timeout"}'
PENDING = '{"stage":"pending"}'
MEMORY = '{"stage":"memory"}'

_GRACE = 0.25  # seconds past the deadline, for the engine to stop by itself
_SHORTEST = 0.001  # the engine takes 0 as "no limit"


def serve(engine: Any, harness: str, requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    with Path(os.devnull).open("w") as nowhere:
        while True:
            # Made before the request comes, so that nobody waits for it. Never used twice.
            context = engine.Context()
            bridge = context.eval(harness)
            request = requests.readline()
            if not request:
                return
            timeout, memory, payload = request.split(b" ", 2)
            limit = float(timeout)
            faulthandler.dump_traceback_later(limit + _GRACE, exit=True, file=nowhere)
            reply = answer(engine, context, bridge, payload.decode(), limit, int(memory))
            faulthandler.cancel_dump_traceback_later()
            replies.write(reply.encode() + b"\n")
            replies.flush()


def answer(
    engine: Any, context: Any, bridge: Any, payload: str, timeout: float, memory: int
) -> str:
    """Run one request in `context` within `timeout` seconds and `memory` bytes."""
    deadline = time.monotonic() + timeout
    context.set_memory_limit(memory)
    context.set_time_limit(max(timeout, _SHORTEST))
    try:
        bridge(payload)
        while (left := deadline - time.monotonic()) > 0:
            context.set_time_limit(max(left, _SHORTEST))
            if not context.execute_pending_job():
                break
        else:
            return TIMEOUT
        report = bridge()
    except (engine.JSException, MemoryError) as error:
        # The engine's own limits are the only errors that the harness cannot catch. Out of
        # memory it often has none left to say so.
        return TIMEOUT if "interrupted" in str(error) else MEMORY
    if isinstance(report, str):
        return report
    return PENDING if time.monotonic() < deadline else TIMEOUT


if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    serve(
        importlib.import_module("quickjs"),
        Path(__file__).with_name("javascript_harness.js").read_text("utf-8"),
        sys.stdin.buffer,
        sys.stdout.buffer,
    )
