"""Small workflows for the tests of durable runs."""

import itertools

from sim_devin.store.rows import Term

KEY = "{{DEVIN_API_KEY}}"


def block(id, type, name=None, **values):
    return {
        "id": id,
        "type": type,
        "name": name or id,
        "position": {"x": 0, "y": 0},
        "enabled": True,
        "subBlocks": {
            key: {"id": key, "type": "short-input", "value": value} for key, value in values.items()
        },
        "outputs": {},
    }


def devin(id, operation, **values):
    return block(id, "devin", operation=operation, apiKey=KEY, orgId="org-simulated", **values)


def wait(id="wait", of="create", **values):
    values = {"sessionId": f"<{of}.sessionId>", **values}
    return block(id, "devin_wait", apiKey=KEY, orgId="org-simulated", **values)


def flow(*blocks, edges=None, start=True):
    blocks = list(blocks)
    if start:
        blocks.insert(0, block("start", "start_trigger"))
    if edges is None:
        chain = [item["id"] for item in blocks]
        edges = list(itertools.pairwise(chain))
    return {
        "blocks": {item["id"]: item for item in blocks},
        "edges": [
            {
                "id": f"e{number}",
                "source": edge[0],
                "target": edge[1],
                "sourceHandle": edge[2] if len(edge) > 2 else "source",
                "targetHandle": "target",
            }
            for number, edge in enumerate(edges)
        ],
        "loops": {},
        "parallels": {},
    }


def loop(id, count, *inner):
    container = block(id, "loop")
    container["data"] = {"loopType": "for", "count": count}
    for item in inner:
        item["data"] = {"parentId": id, "extent": "parent"}
    return container


def claim(store, owner, now=0.0, ttl=10.0, moment=0.0, run_id=None):
    """Begin a run, or that one, as a process named `owner` would by its row; None without."""
    term = Term(now, 0.0 if store.database.locks else now + ttl, ttl)
    offers = store.offered(term) if run_id is None else [run_id]
    begun = (store.begin_run(offer, owner, term, moment) for offer in offers)
    return next(filter(None, begun), None)
