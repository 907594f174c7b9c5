"""Small workflows for the page's tests, and their cards on it."""

import itertools

CREDENTIALS = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "{{DEVIN_ORG_ID}}"}


def card(page, name):
    return page.locator(
        ".react-flow__node", has=page.locator(".card-name").get_by_text(name, exact=True)
    )


def stand_still(page):
    """Wait until the canvas does not move: it fits itself to what was opened."""
    page.locator(".react-flow__node").first.wait_for()
    page.evaluate(
        """() => new Promise(done => {
            let last, same = 0;
            const look = () => {
                const now = document.querySelector(".react-flow__viewport").style.transform;
                same = now === last ? same + 1 : 0;
                last = now;
                same < 10 ? requestAnimationFrame(look) : done();
            };
            look();
        })"""
    )


def answer_in_panel(page, expect):
    """Answer what Devin asks of the block Waiter in the side panel; the run goes on to its end."""
    card(page, "Waiter").click()
    reply = page.get_by_role("form", name="Answer the session")
    expect(reply).to_contain_text("Which branch")
    reply.get_by_label("Your answer").fill("main")
    reply.get_by_role("button", name="Send").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    expect(card(page, "Waiter").locator(".status-text")).to_contain_text("Done")


def block(name, kind, x, values=None, **more):
    fields = {
        key: {"id": key, "type": "short-input", "value": v} for key, v in (values or {}).items()
    }
    return {
        "id": name.lower(),
        "type": kind,
        "name": name,
        "position": {"x": x, "y": 100},
        "subBlocks": fields,
        "outputs": {},
        "enabled": True,
        **more,
    }


def chain(*blocks):
    edges = [
        {"id": f"e{i}", "source": a["id"], "target": b["id"], "sourceHandle": "source"}
        for i, (a, b) in enumerate(itertools.pairwise(blocks))
    ]
    return {"version": "1.0", "state": {"blocks": {b["id"]: b for b in blocks}, "edges": edges}}


def inside(kind, count, *blocks):
    """Return a workflow of a start and a container, Par, with a chain of blocks in it."""
    data = {"width": 340 * len(blocks), "height": 420, "count": count}
    data |= {"loopType": "for"} if kind == "loop" else {"parallelType": "count"}
    made = chain(block("Start", "start_trigger", 0), block("Par", kind, 320, data=data))
    state = made["state"]
    inner = [{**item, "data": {"parentId": "par", "extent": "parent"}} for item in blocks]
    state["blocks"] |= {item["id"]: item for item in inner}
    for number, (source, target) in enumerate(
        itertools.pairwise(["par", *(item["id"] for item in inner)])
    ):
        handle = f"{kind}-start-source" if number == 0 else "source"
        edge = {"id": f"in{number}", "source": source, "target": target, "sourceHandle": handle}
        state["edges"].append(edge)
    return made
