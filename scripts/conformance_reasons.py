"""Why we differ from Sim, on purpose. `conformance.py` holds the cases to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One difference.

    Attributes:
        surface: ``request``, ``response`` or ``block``.
        input: what is passed or comes back.
        sim: what Sim does with it.
        here: what this package does.
        why: what for.
    """

    surface: str
    input: str
    sim: str
    here: str
    why: str


REASONS = {
    "encoded_id": Reason(
        "request",
        "an id with characters that mean something in an address",
        "put into the address as it is",
        "percent-encoded as one segment, after the same trimming",
        "`../` would reach another organization, `?` and `#` would cut the address off",
    ),
    "path_segment": Reason(
        "request",
        "an id that is `.` or `..`",
        "sent; the address collapses to another one",
        "refused",
        "no session or organization is called that",
    ),
    "blank_required": Reason(
        "request",
        "a required text that is missing, empty or blank",
        "sent without it, or with the blank text",
        "refused, together with all other problems of the call",
        "the service can only refuse it, or do something else: a blank session id addresses "
        "the list of sessions",
    ),
    "blank_credential": Reason(
        "request",
        "a missing or blank API key or organization id",
        "sent as `Bearer undefined`, or to an address with a hole in it",
        "refused, naming the variable to set",
        "it cannot succeed",
    ),
    "header_key": Reason(
        "request",
        "an API key with a line break or another character no header can carry",
        "an error that repeats the key",
        "refused without repeating it",
        "a key must not end up in a log",
    ),
    "wrong_type": Reason(
        "request",
        "a value of another type than the parameter's",
        "sent as it is, or dropped if it is 0, false or empty",
        "refused",
        "a mistake shows before anything is sent",
    ),
    "number_for_text": Reason(
        "request",
        "a number where text is wanted",
        "sent as a number, dropped if it is 0, an error for an id",
        "sent as that text",
        "a client that reads each value as JSON means `2024` as a title",
    ),
    "unknown_parameter": Reason(
        "request",
        "a parameter the tool does not have",
        "ignored; `method`, `timeout` and `proxyUrl` are obeyed",
        "refused, naming the nearest one",
        "a typing error must not go unnoticed, and nobody, least of all a model, may turn a "
        "read into a DELETE or choose a proxy",
    ),
    "limit_range": Reason(
        "request",
        "a `limit` that is not a whole number from 1 to 200",
        "sent, or dropped if it is 0 or false",
        "refused",
        "the service takes no other",
    ),
    "plain_limit": Reason(
        "request",
        "a `limit` given as a text such as `1e2` or ` 50 `",
        "sent as the text",
        "sent as the number it says",
        "the service reads digits",
    ),
    "cap_junk": Reason(
        "request",
        "a `maxAcuLimit` that is not a positive whole number",
        "sent as it is",
        "refused",
        "a cap that was asked for must not get lost on the way",
    ),
    "number_cap": Reason(
        "request",
        "a `maxAcuLimit` given as text",
        "sent as the text, even when it is empty",
        "sent as the number it says; empty means none",
        "the service takes numbers",
    ),
    "archive_false": Reason(
        "request",
        'the text `"false"` for `archive`',
        "archives: any text is true",
        "does not archive",
        "it says false",
    ),
    "archive_junk": Reason(
        "request",
        'an `archive` that is neither a boolean nor `"true"` or `"false"`',
        "true unless it is empty or 0",
        "refused",
        "whether a session can still be used must not be a guess",
    ),
    "distinct_tags": Reason(
        "request",
        "tags that repeat",
        "sent as often as given",
        "sent once, in order",
        "a session has a tag or has it not, and may have 50",
    ),
    "listed_tags": Reason(
        "request",
        "tags as the text of a JSON list",
        "cut at its commas, brackets and quotes included",
        "read as the list",
        "that is how a list arrives that another block made",
    ),
    "many_tags": Reason(
        "request",
        "more than 50 tags",
        "sent",
        "refused",
        "the service takes 50",
    ),
    "blank_tags": Reason(
        "request",
        "required tags that are missing or all blank",
        "sent as an empty list; replacing removes all tags",
        "refused; an explicit `[]` still removes all",
        "an empty field must not clear a session's tags",
    ),
    "error_status": Reason(
        "response",
        "an error status",
        "the tool alone reads the body of an error like that of a success (the layer around it "
        "reports the error)",
        "an error of the matching kind",
        "there is no layer around it here",
    ),
    "not_an_object": Reason(
        "response",
        "a success whose body is a number, text, boolean or list where an object belongs",
        "a success full of nulls",
        "`UnreadableResponse`, saying what was accepted",
        "nulls look like a session that has nothing yet",
    ),
    "nothing_known": Reason(
        "response",
        "a success whose object has none of the fields that are read",
        "a success full of nulls",
        "`UnreadableResponse`, saying what was accepted",
        "nulls look like a session that has nothing yet",
    ),
    "no_session_id": Reason(
        "response",
        "a created session without an id",
        "a success whose `sessionId` is null",
        "`UnreadableResponse`, saying that the session may exist",
        "nobody could follow it, and nobody should create it again",
    ),
    "odd_session_id": Reason(
        "response",
        "a session whose id is blank or no text",
        "a success with that as its `sessionId`",
        "`UnreadableResponse`, saying what was accepted",
        "no later call could name the session by it",
    ),
    "odd_items": Reason(
        "response",
        "a list whose items are not objects",
        "items full of nulls",
        "`UnreadableResponse`",
        "nulls look like sessions or messages that have nothing yet",
    ),
    "empty_success": Reason(
        "response",
        "a success without a body, for something that changes a session",
        "reported as failed",
        "accepted; what the call does not tell is null",
        "the service did it: a plain failure invites doing it again",
    ),
    "unknown_operation": Reason(
        "block",
        "an operation the block does not have",
        "planned as a tool that does not exist; the run fails later",
        "refused at once, naming the nearest",
        "the mistake is in the block",
    ),
    "kept_number": Reason(
        "block",
        "a limit or cap that is not a number",
        "dropped, or turned into 0 or another number",
        "handed on as it is; the call refuses it",
        "a limit that was asked for must not get lost on the way",
    ),
    "kept_archive": Reason(
        "block",
        'an archive choice other than `"true"` and `"false"`',
        "false",
        "handed on as it is; the call refuses it",
        "whether a session can still be used must not be a guess",
    ),
}
