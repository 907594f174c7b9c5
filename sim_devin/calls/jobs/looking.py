"""One look at jobs: many in one call, or one by its id; and the end of one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from sim_devin.calls.jobs.verdict import Verdict, classify
from sim_devin.errors import NotFound
from sim_devin.specs.jobs import JobSpec

log = logging.getLogger("sim_devin")


class ToolCall(Protocol):
    """Carries out a tool, or raises a `SimDevinError`."""

    def __call__(self, tool_id: str, params: Mapping[str, Any], /) -> dict[str, Any]:
        """Return the tool's output."""
        ...


def listed(job: JobSpec, ids: Iterable[str], call: ToolCall) -> dict[str, Mapping[str, Any]]:
    """Return bare id -> job, of those that one list call shows; of one id none is made.

    An entry without an id says of none how it is: the rest is used, and who it was is asked for by
    its id.
    """
    many, asked = job.look_many, list(dict.fromkeys(ids))
    if many is None:
        return {}
    found = {}
    for number, item in enumerate(call(many.tool, {many.ids: asked, **many.with_})[many.items]):
        job_id = job.id_of(item)
        if job_id is None:
            place = f"{many.items}[{number}].{job.fields.id}"
            log.warning("%s returned an entry without an id (%s), not used.", many.tool, place)
        else:
            found[job.bare(job_id)] = item
    return found


def single(job: JobSpec, job_id: str, call: ToolCall) -> Mapping[str, Any] | None:
    """Return a job; None if the service does not know it."""
    try:
        return call(job.look.tool, {job.look.id: job_id})
    except NotFound:
        return None


def end(job: JobSpec, job_id: str, seen: Mapping[str, Any], call: ToolCall) -> Mapping[str, Any]:
    """End a job, and return it as it was seen, with what the answer says besides."""
    if job.end is None:
        return seen
    ended = call(job.end.tool, {job.end.id: job_id})
    return {**seen, **{name: value for name, value in ended.items() if value is not None}}


def unknown(job: JobSpec) -> Verdict:
    """Return the verdict of a job that the service does not know any more."""
    return Verdict("failed", f"the service does not know this {job.noun}")


def needs_full(job: JobSpec, found: Mapping[str, Any]) -> bool:
    """Return whether a list entry lacks what decides: lists may not carry results."""
    result = job.fields.result
    return bool(result) and result not in found and classify(job, found).settled
