"""Jobs that are one too many: found by the tag they carry, ended, and reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sim_devin.calls.intents import Intent, Ledger
from sim_devin.calls.invoke import Context
from sim_devin.calls.paging import pages
from sim_devin.errors import SimDevinError, UnreadableResponse
from sim_devin.specs.jobs import JobSpec

log = logging.getLogger("sim_devin")

STRAYS_FOR = 24 * 3600.0  # seconds in which a double may still turn up and is looked for


def end_strays(job: JobSpec, context: Context) -> list[str]:
    """End the jobs of a kind that appeared after their create was given up or sent again.

    Returns their ids. Called after every reconciled create; a long-lived process may call it
    from time to time. What cannot be looked up or ended now is looked for the next time.
    """
    ledger: Ledger = context.ledger
    ended: list[str] = []
    for intent in ledger.watched([job.create.tool], context.clock.time() - STRAYS_FOR):
        try:
            ended += end_doubles_of(job, intent, context)
        except SimDevinError:
            continue
    return ended


def end_doubles_of(job: JobSpec, intent: Intent, context: Context) -> list[str]:
    """End the jobs that carry the tag of a create and that nobody uses; return their ids.

    Raises:
        SimDevinError: they cannot be looked for.
    """
    ledger: Ledger = context.ledger
    ended = []
    for found in carriers(job, intent.tag, context):
        if job.is_final(found):
            continue
        job_id = str(job.id_of(found))
        # Recorded first: from then on nobody can adopt it any more.
        kept = ledger.settle(intent.tag, "stray", job_id)
        twin = kept.state == "done" and not job.same(kept.session_id, job_id)
        if (twin or kept.state == "stray") and end_double(job, found, intent.tag, context):
            ended.append(job_id)
    return ended


def carriers(job: JobSpec, tag: str, context: Context) -> list[Mapping[str, Any]]:
    """Return the jobs that carry a tag; what the service lists is checked once more.

    Raises:
        UnreadableResponse: one that carries it has no id: it is there, and cannot be told which.
    """
    find = job.find
    if find is None:
        return []
    found: list[Mapping[str, Any]] = []
    for each in find.each:
        asked = {**each, find.tag: tag} if find.tag else each

        def fetch(after: str | None, asked: Mapping[str, Any] = asked) -> Mapping[str, Any]:
            more = {} if after is None else {"after": after}
            return context.call(find.tool, {**asked, **more})

        found += [item for page in pages(fetch) for item in page[find.items]]
    carrying = [item for item in found if _carries(item.get(find.field), tag)]
    for item in carrying:
        if job.id_of(item) is None:
            number = found.index(item)
            raise UnreadableResponse(
                f"{find.tool} returned an entry with the tag {tag} but without an id "
                f"({find.items}[{number}].{job.fields.id}).",
                status=200,
            )
    return carrying


def _carries(given: Any, tag: str) -> bool:
    return tag == given if isinstance(given, str) else tag in (given or ())


def end_double(job: JobSpec, found: Mapping[str, Any], tag: str, context: Context) -> bool:
    """End a job that is one too many, unless it is in use, and say so.

    Returns whether it was ended.
    """
    ledger: Ledger = context.ledger
    job_id = str(job.id_of(found))
    if ledger.in_use(job, job_id):
        return False
    about, named = {"session": job_id, "tag": tag}, f"The duplicate {job.noun} {job.bare(job_id)}"
    if job.end is None:
        ledger.report(tag, f"{named} was found, but no tool can end it.", job_id)
        return False
    try:
        context.call(job.end.tool, {job.end.id: job_id})
    except SimDevinError as error:
        reason = type(error).__name__
        log.warning("could not end the duplicate %s %s: %s", job.noun, job_id, reason, extra=about)
        ledger.report(tag, f"{named} could not be ended yet: {error.message}", job_id)
        return False
    log.warning("ended the duplicate %s %s", job.noun, job_id, extra=about)
    ledger.report(tag, f"{named} was ended.", job_id)
    return True
