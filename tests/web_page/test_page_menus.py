"""Wires let go on the canvas, and the menus of blocks, connections and the canvas."""

import pytest
from page_flows import block, card, chain


def item(page, name):
    return page.get_by_role("menuitem", name=name, exact=True)


def edges(site, expect, page, name="Flow"):
    expect(page.get_by_test_id("saving")).to_have_text("Saved")
    state = site.document(name)
    names = {key: found["name"] for key, found in state["blocks"].items()}
    return [(names[e["source"]], e["sourceHandle"], names[e["target"]]) for e in state["edges"]]


def let_go(page, handle, x, y):
    """Drag a wire from a handle to a point of the canvas."""
    at, pane = handle.bounding_box(), page.locator(".react-flow__pane").bounding_box()
    page.mouse.move(at["x"] + 6, at["y"] + 6)
    page.mouse.down()
    page.mouse.move(pane["x"] + x, pane["y"] + y, steps=6)
    page.mouse.up()
    return pane["x"] + x, pane["y"] + y


def add(page, text):
    page.get_by_role("dialog", name="Add a block").wait_for()
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def handle(page, name, kind):
    return card(page, name).locator(f'.react-flow__handle[data-handleid="{kind}"]')


@pytest.fixture
def drawn(page, site):
    """Return the page with two connected blocks on it."""
    site.put("Flow", chain(block("Start", "start_trigger", 0), block("Wait", "wait", 300)))
    page.reload()
    page.get_by_role("button", name="Flow", exact=True).click()
    card(page, "Wait").wait_for()
    page.wait_for_timeout(200)  # the view is fitted once
    return page


def test_a_wire_let_go_adds_the_block_it_leads_to(drawn, site, expect):
    x, y = let_go(drawn, handle(drawn, "Wait", "error"), 420, 520)
    add(drawn, "response")
    box = card(drawn, "Response").bounding_box()
    assert abs(box["x"] - x) < 30
    assert abs(box["y"] - y) < 60
    let_go(drawn, handle(drawn, "Wait", "target"), 120, 560)
    add(drawn, "function")
    assert edges(site, expect, drawn) == [
        ("Start", "source", "Wait"),
        ("Wait", "error", "Response"),
        ("Function", "source", "Wait"),
    ]
    drawn.keyboard.press("Control+z")
    expect(card(drawn, "Function")).to_have_count(0)  # block and wire are one step
    expect(drawn.locator(".react-flow__edge")).to_have_count(2)


def test_a_wire_given_up_leaves_nothing(drawn, expect):
    let_go(drawn, handle(drawn, "Wait", "source"), 420, 520)
    drawn.get_by_role("dialog", name="Add a block").wait_for()
    drawn.keyboard.press("Escape")
    drawn.keyboard.press("Control+k")
    add(drawn, "response")
    expect(card(drawn, "Response")).to_be_visible()
    expect(drawn.locator(".react-flow__edge")).to_have_count(1)


def test_a_wire_stays_in_its_container(new_workflow, site, expect):
    page = new_workflow()
    page.drag_and_drop(
        "[data-block=loop]", ".react-flow__pane", target_position={"x": 300, "y": 100}
    )
    let_go(page, page.locator('[data-handleid="loop-start-source"]'), 560, 260)
    add(page, "function")
    assert edges(site, expect, page) == [("Loop 1", "loop-start-source", "Function")]
    blocks = site.document("Flow")["blocks"].values()
    loop, inner = (next(b for b in blocks if b["name"] == name) for name in ("Loop 1", "Function"))
    assert inner["data"]["parentId"] == loop["id"]


def test_the_menu_of_a_block(drawn, site, expect):
    card(drawn, "Wait").click(button="right")
    expect(drawn.get_by_role("menu", name="Wait")).to_be_visible()
    item(drawn, "Disable").click()
    expect(card(drawn, "Wait").locator(".badge", has_text="Off")).to_be_visible()
    card(drawn, "Wait").click(button="right")
    item(drawn, "Enable").click()
    card(drawn, "Wait").click(button="right")
    item(drawn, "Duplicate").click()
    expect(card(drawn, "Wait 2")).to_be_visible()
    card(drawn, "Start").click(button="right")
    item(drawn, "Rename").click()
    expect(drawn.get_by_label("Name", exact=True)).to_be_focused()
    drawn.keyboard.type("Begin")
    drawn.keyboard.press("Enter")
    card(drawn, "Begin").click(button="right")
    item(drawn, "Delete").click()
    expect(drawn.locator(".react-flow__node")).to_have_count(2)
    expect(drawn.get_by_role("menu")).to_have_count(0)


def test_the_menu_of_a_block_runs_from_it(drawn, expect):
    card(drawn, "Wait").click(button="right")
    expect(item(drawn, "Run from here")).to_have_count(0)
    drawn.keyboard.press("Escape")
    drawn.keyboard.press("Control+Enter")
    expect(drawn.get_by_test_id("run-status")).to_have_text("Finished")
    card(drawn, "Wait").click(button="right")
    item(drawn, "Run from here").click()
    expect(card(drawn, "Start").locator(".status")).to_have_count(0)
    expect(drawn.get_by_test_id("run-status")).to_have_text("Finished")


def test_the_menus_by_keyboard_alone(drawn, expect):
    node = card(drawn, "Wait")
    node.focus()
    drawn.keyboard.press("Shift+F10")
    expect(item(drawn, "Rename")).to_be_focused()
    drawn.keyboard.press("ArrowUp")
    expect(item(drawn, "Delete")).to_be_focused()
    drawn.keyboard.press("ArrowDown")
    drawn.keyboard.press("End")
    drawn.keyboard.press("Escape")
    expect(drawn.get_by_role("menu")).to_have_count(0)
    expect(node).to_be_focused()
    drawn.keyboard.press("ContextMenu")
    drawn.keyboard.press("ArrowDown")
    drawn.keyboard.press("Enter")
    expect(card(drawn, "Wait 2")).to_be_visible()
    drawn.locator(".react-flow__edge").first.focus()
    drawn.keyboard.press("Shift+F10")
    expect(drawn.get_by_role("menu", name="Connection from Start to Wait")).to_be_visible()
    drawn.keyboard.press("Enter")
    expect(drawn.locator(".react-flow__edge")).to_have_count(0)


def test_the_menu_of_the_canvas(drawn, site, expect):
    drawn.context.grant_permissions(["clipboard-read", "clipboard-write"])
    card(drawn, "Wait").click(button="right")
    item(drawn, "Copy").click()
    pane = drawn.locator(".react-flow__pane")
    pane.click(button="right", position={"x": 500, "y": 560})
    item(drawn, "Paste").click()
    expect(card(drawn, "Wait 2")).to_be_visible()
    pane.click(button="right", position={"x": 500, "y": 600})
    item(drawn, "Tidy up").click()
    pane.click(button="right", position={"x": 500, "y": 600})
    item(drawn, "Add a block here").click()
    add(drawn, "response")
    expect(card(drawn, "Response")).to_be_visible()
    pane.click(button="right", position={"x": 300, "y": 600})
    item(drawn, "Select all").click()
    card(drawn, "Response").click(button="right")
    expect(drawn.get_by_role("menu", name="4 blocks")).to_be_visible()
    item(drawn, "Delete").click()
    expect(drawn.locator(".react-flow__node")).to_have_count(0)
