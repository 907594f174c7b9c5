"""What the page may see of runs: secrets masked, long values cut, what is worth a card picked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from sim_devin.plugins.registry import Registry
from sim_devin.redaction import Redactor
from sim_devin.text import whole

LONGEST_TEXT = 20_000  # characters of one text shown in the browser
LONGEST_LIST = 500

_NODE_MARKS = re.compile(r"(__clone[0-9a-f]*)?(__obranch-\d+)?(₍\d+₎)?$")


def original_id(node_id: str) -> str:
    """Return the id of the block that a node of a run stands for.

    Branches of parallels and clones of nested containers carry marks at the end.
    """
    while True:
        shorter = _NODE_MARKS.sub("", node_id)
        if shorter == node_id:
            return node_id
        node_id = shorter


def highlights(registry: Registry, output: Any) -> dict[str, Any]:
    """Return what of an output is worth a place on the card: the job, its cost, its work.

    The names are those that the page knows, whatever the kind of job calls them.
    """
    if not isinstance(output, Mapping):
        return {}
    shaped = {name: output.get(name) for name in ("url", "outcome")}
    job = registry.job_seen(output)
    if job is not None:
        shaped |= {
            "sessionId": job.id_of(output),
            "url": job.field(output, "url"),
            "acusConsumed": job.cost_of(output),
            "pullRequests": [
                {**item, "pr_url": item[job.fields.artifact_url]}
                for item in job.artifacts_of(output)
            ],
            "structuredOutput": job.field(output, "result"),
        }
    found = {name: value for name, value in shaped.items() if value not in (None, [], {})}
    return {"highlights": found} if found else {}


def shown(value: Any, redactor: Redactor) -> Any:
    """Return JSON data as the page may have it: masked, and long texts and lists cut."""
    return shortened(redactor.data(value))


def shortened(value: Any) -> Any:
    """Return JSON data with very long texts and lists cut, saying so.

    Numbers that JSON has none of are null, as JavaScript writes them.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{whole(value[:LONGEST_TEXT])}… ({len(value) - LONGEST_TEXT} more characters)"
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, Mapping):
        return {str(key): shortened(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        cut = [shortened(item) for item in value[:LONGEST_LIST]]
        if len(value) > LONGEST_LIST:
            cut.append(f"… ({len(value) - LONGEST_LIST} more items)")
        return cut
    return value
