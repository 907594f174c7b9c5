"""Never twice: settle a create or a message whose outcome is unknown, without repeating it.

Before a create an intent with a fresh tag is recorded, and the tag goes out with the
request. After any end that does not prove that nothing was taken, whatever the answer was,
nobody sends again until a grace window longer than the request can still live has passed;
meanwhile the tag is looked up, archived and not, and membership is checked here, since lists
may lag. What is found is adopted. What is settled as not there is sent once more if the
service said "later" (429, 503 with Retry-After); otherwise the policy decides: ``hold`` leaves
it to a human, ``retry`` sends once more. A session that appears too late is ended and reported
(`sim_devin.calls.jobs.doubles`).

A message is looked for by its text instead of a tag: see `sim_devin.calls.jobs.same_texts`.
Which tools do all that, and which parameter takes the tag, says the kind of job (`JobSpec`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from sim_devin.calls.intents import Intent, Ledger, Settle
from sim_devin.calls.invoke import Context
from sim_devin.calls.jobs.delivery import (
    Delivery,
    Output,
    as_created,
    created_job,
    reached,
    read_job,
    words_of,
)
from sim_devin.calls.jobs.doubles import STRAYS_FOR, carriers, end_double, end_strays
from sim_devin.calls.jobs.ledger import MemoryLedger
from sim_devin.calls.jobs.same_texts import Copies, digest
from sim_devin.calls.jobs.turn import messages_of
from sim_devin.errors import (
    BadRequest,
    Cancelled,
    PermissionDenied,
    SimDevinError,
    StoreError,
    UncertainResult,
)
from sim_devin.specs.jobs import JobSpec

__all__ = [
    "STRAYS_FOR",
    "Intent",
    "Ledger",
    "MemoryLedger",
    "Settle",
    "create",
    "end_strays",
    "send",
]

CANDIDATES = 10  # jobs worth naming when nothing but prompt and time can tell


# -- creates ----------------------------------------------------------------------------------


def create(job: JobSpec, params: Mapping[str, Any], context: Context) -> Output:
    """Create a job at most once and return it.

    Raises:
        UncertainResult: it may exist, was not found in the grace window, and the policy is
            to hold; or nothing can tell. The message says how to look for it.
        SimDevinError: the service refused it; nothing was created.
    """
    spec, find = job.create, job.find
    given = params.get(spec.tag)
    if find is None:
        return _create_untagged(job, params, context, f"a {job.noun} has no tags")
    if isinstance(given, str) and given:
        return _create_untagged(job, params, context, f"{spec.tag} is set already")
    tags = list(given or [])
    if spec.most_tags and len(tags) >= spec.most_tags:
        return _create_untagged(job, params, context, f"it already has {spec.most_tags} tags")
    delivery = Delivery(
        job,
        context,
        # A text alone becomes a list where the parameter is one.
        lambda intent: {**params, spec.tag: [*tags, intent.tag] if tags else intent.tag},
        lambda tag: Intent(tag, spec.tool, context.clock.time()),
        lambda sent: _adopt(job, sent, context),
    )
    try:
        session = delivery.run()
    except (BadRequest, PermissionDenied) as error:
        named = spec.tag.lower().removesuffix("s")
        if isinstance(error, PermissionDenied) and named not in str(error).lower():
            raise
        # Perhaps only our tag is refused (allow-lists exist); without it the answer is
        # the one the caller would have got.
        return _create_untagged(job, params, context, "the service rejected an additional tag")
    if session is not None:
        end_strays(job, context)
        return session
    sent = delivery.sent
    named = " or ".join(repr(intent.tag) for intent in sent)
    raise UncertainResult(
        f"It is unknown whether a {job.noun} was created.{words_of(delivery.error)}",
        status=getattr(delivery.error, "status", None),
        hint=f"None with the tag {named} appeared within {context.settle.grace:g} s. "
        f"Look for it later: sim-devin call {find.tool} {find.tag or find.field}={sent[-1].tag}",
    )


def _adopt(job: JobSpec, sent: list[Intent], context: Context) -> Output | None:
    """Return the oldest job that carries the tag of one of `sent`; the rest are doubles."""
    ledger: Ledger = context.ledger
    found = [
        (intent, session)
        for intent in sent
        if intent.state != "stray"
        for session in carriers(job, intent.tag, context)
    ]
    found.sort(key=lambda pair: (job.moment(pair[1], "created") or 0, str(job.id_of(pair[1]))))
    for intent, session in found:
        kept = ledger.settle(intent.tag, "done", job.id_of(session), adopted=True)
        if kept.state != "done":
            continue  # another process has given it up, and ends it
        for other in sent:
            if other.tag != kept.tag:
                ledger.settle(other.tag, "missing")
        for owner, twin in found:
            if owner is intent and not job.same(job.id_of(twin), kept.session_id):
                end_double(job, twin, owner.tag, context)  # one request, carried out twice
        if not job.same(job.id_of(session), kept.session_id):
            return created_job(job, kept.session_id, context)
        return as_created(job, session)
    return None


def _create_untagged(job: JobSpec, params: Mapping[str, Any], context: Context, why: str) -> Output:
    """Create without a tag to find it by: an ambiguous end stays uncertain."""
    since = int(context.clock.time()) - 60
    ledger: Ledger = context.ledger
    tool, find = job.create.tool, job.find
    intent = Intent(ledger.tag("untagged"), tool, context.clock.time())
    words = ""

    def came_late(output: Output) -> None:
        with suppress(SimDevinError):
            ledger.settle(intent.tag, "done", job.id_of(output))

    if ledger.claim(intent):
        try:
            confirm = partial(ledger.confirm, intent)
            output = context.call(tool, params, confirm=confirm, late=came_late)
        except StoreError:
            raise
        except SimDevinError as error:
            if error.means.did_nothing or isinstance(error, Cancelled):
                ledger.settle(intent.tag, "rejected")
                raise
            words = words_of(error)
        else:
            ledger.settle(intent.tag, "done", job.id_of(output))
            return output
    elif intent.state == "done" and intent.session_id:
        return created_job(job, intent.session_id, context)
    ledger.settle(intent.tag, "uncertain")
    alike = _alike(job, params, since, context)
    seen = f"These have the same {job.create.task}: {', '.join(alike)}. " if alike else ""
    look = f"{find.tool} {find.since}={since}" if find is not None and find.since else ""
    raise UncertainResult(
        f"It is unknown whether a {job.noun} was created, and there is no tag to look for: "
        f"{why}.{words}",
        hint=f"{seen}Look for it: sim-devin call {look}" if look else "Look for it there.",
    )


def _alike(job: JobSpec, params: Mapping[str, Any], since: int, context: Context) -> list[str]:
    """Return the ids of new jobs whose first message is the task; none when unsure."""
    find, messages = job.find, job.messages
    if find is None or not find.since or messages is None:
        return []
    try:
        newest = context.call(find.tool, {find.since: since})[find.items]
        return [
            job_id
            for job_id in (str(job.id_of(item)) for item in newest[:CANDIDATES])
            for first in messages_of(job, job_id, context.call)[:1]
            if first.get(messages.text) == params.get(job.create.task)
        ]
    except SimDevinError:
        return []


# -- messages ---------------------------------------------------------------------------------


def send(job: JobSpec, params: Mapping[str, Any], context: Context) -> Output:
    """Say something to a job at most once, and return the job as its tool does.

    Raises:
        UncertainResult: it may have been sent, was not found in the grace window, and the
            policy is to hold; or it cannot be told from messages of the same text.
        NothingSent: the job's messages could not be read for a whole grace window.
        UnreadableResponse: it was sent, but the session cannot be read (`accepted` is true).
        SimDevinError: the service refused it; nothing was sent.
    """
    spec = job.answer
    assert spec is not None  # noqa: S101 - it is the tool that this is called for
    job_id, message = params[spec.id], params[spec.text]
    copies = Copies(job, job_id, message, context)

    def make(tag: str) -> Intent:
        intent = Intent(
            tag, spec.tool, context.clock.time(), session_id=job_id, text=digest(message)
        )
        copies.count_before(intent)
        return intent

    def look(sent: list[Intent]) -> Output | None:
        if not copies.arrived(sent):
            return None
        return read_job(job, job_id, context, reached(job, job_id))

    def explained() -> bool:
        try:
            found = context.call(job.look.tool, {job.look.id: job_id})
        except SimDevinError:
            return False
        return not job.takes_answers(found)

    delivery = Delivery(
        job, context, lambda _: params, make, look, copies.cannot_tell, copies.more, explained
    )
    session = delivery.run()
    if session is not None:
        return session
    read = job.messages or job.look
    raise UncertainResult(
        f"It is unknown whether the message reached {job.bare(job_id)}.{words_of(delivery.error)}",
        status=None if copies.cannot_tell() else getattr(delivery.error, "status", None),
        hint=f"Read the {job.noun} first: sim-devin call {read.tool} {read.id}={job_id}",
    )
