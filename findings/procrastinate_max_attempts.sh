#!/usr/bin/env bash
# procrastinate 3.10.0: max_attempts=3 runs a task four times, and linear_wait starts at no wait
#
# Guess: max_attempts=3 allows three attempts in all, and linear_wait=10 waits 10, 20, 30 seconds.
# Really: The task runs once and is then retried three times: four runs. linear_wait waits 0, 10,
# 20 seconds, so the first retry comes at once, while exponential_wait=2 waits 2, 4, 8.
# So: A task that starts paid work and counts its attempts from the name of the option pays once
# more than planned.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'procrastinate==3.10.0'

"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import asyncio
import datetime
import logging

import procrastinate
from procrastinate import RetryStrategy, jobs, testing

logging.disable(logging.CRITICAL)


async def runs_of_a_failing_task():
    app = procrastinate.App(connector=testing.InMemoryConnector())
    runs = []

    @app.task(name="fails", retry=RetryStrategy(max_attempts=3, linear_wait=0))
    async def fails():
        runs.append("run")
        raise RuntimeError

    async with app.open_async():
        await fails.defer_async()
        for _ in range(6):
            await app.run_worker_async(
                wait=False, install_signal_handlers=False, listen_notify=False
            )
    return len(runs)


def waits(**options):
    strategy = RetryStrategy(max_attempts=9, **options)
    seconds = []
    for attempts in range(3):
        job = jobs.Job(
            id=1, queue="q", lock=None, queueing_lock=None, task_name="t", attempts=attempts
        )
        now = datetime.datetime.now(datetime.timezone.utc)
        decision = strategy.get_retry_decision(exception=RuntimeError(), job=job)
        seconds.append(round((decision.retry_at - now).total_seconds()))
    return seconds


print("runs with max_attempts=3:", asyncio.run(runs_of_a_failing_task()))
print("linear_wait=10:", waits(linear_wait=10))
print("exponential_wait=2:", waits(exponential_wait=2))
EOF

diff - "$work/seen" <<'EOF'
runs with max_attempts=3: 4
linear_wait=10: [0, 10, 20]
exponential_wait=2: [2, 4, 8]
EOF
cat "$work/seen"
