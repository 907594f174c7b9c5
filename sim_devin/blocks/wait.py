"""The Wait block: some seconds in place, or up to a month with the run suspended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.engine.contract import BlockContext, BlockError, Pause, Sleep, Written, handler
from sim_devin.engine.problem import Problem
from sim_devin.engine.run import iso
from sim_devin.specs.schema import number

UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}
LONGEST_SYNC = 5 * 60
LONGEST_ASYNC = 30 * 86_400


def check(written: Written) -> Iterator[Problem]:
    """Yield what is wrong with the time."""
    if not written.unknown:
        try:
            _seconds(written.values)
        except BlockError as error:
            hint = "Enter a number above 0 and choose its unit."
            yield Problem(str(error), place="timeValue", hint=hint)


@handler(inline=True, check=check)
def wait(block: BlockContext) -> Pause | Sleep:
    """Wait in place, or pause the run until the time has come."""
    seconds, is_async = _seconds(block.values)
    duration = round(seconds * 1000)
    if not is_async:
        return Sleep(seconds, {"waitDuration": duration, "status": "completed"}, "time")
    resume_at = block.clock.time() + seconds
    response: dict[str, Any] = {"waitDuration": duration, "resumeAt": iso(resume_at)}
    output = {"waitDuration": duration, "status": "waiting", "resumeAt": iso(resume_at)}
    return Pause(output, response, kind="time", resume_at=resume_at)


def _seconds(values: Mapping[str, Any]) -> tuple[float, bool]:
    """Return how long to wait, and whether the run is suspended for it."""
    is_async = values.get("async") in (True, "true")
    unit = str(values.get("timeUnitLong" if is_async else "timeUnit") or "seconds")
    seconds = _amount(values.get("timeValue")) * UNITS.get(unit, 1)
    if not is_async and seconds > LONGEST_SYNC:
        raise BlockError(
            "Wait time exceeds maximum of 5 minutes; enable async mode to wait up to 30 days",
            retry=False,
        )
    if seconds > LONGEST_ASYNC:
        raise BlockError("Wait time exceeds maximum of 30 days", retry=False)
    return seconds, is_async


def _amount(value: Any) -> float:
    parsed = number(value) if isinstance(value, str) else value
    if isinstance(parsed, bool) or not isinstance(parsed, (int, float)) or not parsed > 0:
        raise BlockError("Wait amount must be a positive number", retry=False)
    return float(parsed)
