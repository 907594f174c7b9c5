"""What a session's state means: in flight, done, blocked, asleep, out of money, failed.

One table over what the service says: status, detail, archived, structured output, pull
requests. Facts: Devin API reference, session status.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sim_devin.calls.jobs.verdict import Verdict
from sim_devin.calls.money import Scope, money_scope
from sim_devin.specs import json_schema
from sim_devin.specs.files import builtin_folder, read_file
from sim_devin.specs.jobs import JobSpec, JobState
from sim_devin.specs.models import Schema


@cache
def session_kind() -> JobSpec:
    """Return a Devin session as a kind of job, for what deals with Devin alone."""
    kind = read_file(builtin_folder() / "devin.job.json", JobSpec)
    return kind.model_copy(update={"judge": judge})


def judge(session: Mapping[str, Any], schema: Schema | None) -> tuple[JobState, str, Scope | None]:
    """Return what a session's state means, as `JobSpec.judge` does."""
    verdict = classify(session, schema=schema)
    return verdict.state, verdict.reason, verdict.scope


def classify(session: Mapping[str, Any], *, schema: Schema | None = None) -> Verdict:
    """Return what a session's state means, from the output of get or list.

    `schema` is the JSON Schema the structured output has to fit to count as a result;
    without one any structured output counts. Unknown statuses are in flight, and unknown
    details count as their status alone says, so that new values break nothing.

    Raises:
        InvalidParams: `schema` refers to something outside of itself.
    """
    status = session.get("status")
    detail = session.get("statusDetail")
    result = _has_result(session, schema)
    output = result or bool(session_kind().artifacts_of(session))
    scope = money_scope(detail)
    if scope is not None:
        return Verdict("out_of_money", str(detail).replace("_", " "), scope)
    if status == "error":
        return Verdict("failed", "the session failed")
    if status == "exit":
        return _exited(detail, output)
    if status == "suspended":
        return _suspended(detail, output, archived=bool(session.get("isArchived")))
    if status == "running":
        if detail == "finished":
            return Verdict("done", "the task is complete")
        if detail == "waiting_for_user":
            if result:
                return Verdict("done", "it waits for the user, but its result is available")
            return Verdict("blocked_on_user", "Devin waits for an answer")
        if detail == "waiting_for_approval":
            return Verdict("blocked_on_approval", "Devin waits for approval")
        if detail == "error":
            return Verdict("failed", "the session was stopped by a fault")
    return Verdict("in_flight", f"{status or 'unknown'}{f', {detail}' if detail else ''}")


def _exited(detail: Any, output: bool) -> Verdict:
    if detail == "error":
        return Verdict("failed", "the session was stopped by a fault")
    if detail == "finished" or output:
        return Verdict("done", "the session ended with a result")
    return Verdict("ended", "the session ended without a result")


def _suspended(detail: Any, output: bool, *, archived: bool) -> Verdict:
    if detail == "error":
        return Verdict("failed", "the session was stopped by a fault")
    if archived:
        if detail == "finished" or output:
            return Verdict("done", "the session is archived, and its result is available")
        return Verdict("ended", "the session is archived and cannot be resumed")
    if detail == "finished" or (output and detail != "user_request"):
        return Verdict("done", "it fell asleep, and its result is available")
    why = "a user paused it" if detail == "user_request" else "it fell asleep while idle"
    return Verdict("asleep", f"{why}; a message wakes it")


def _has_result(session: Mapping[str, Any], schema: Schema | None) -> bool:
    output = session.get("structuredOutput")
    if output is None:
        return False
    return schema is None or not json_schema.errors(output, schema, "schema", "draft 7")


def bare(session_id: str) -> str:
    """Return a session id without its ``devin-`` prefix, the form to compare ids in."""
    return session_kind().bare(session_id)


def pull_requests(session: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pull requests of a session that have an address, each with its ``pr_url``."""
    return session_kind().artifacts_of(session)
