"""Drawing: drag in, wire, fill in, undo, copy, contain, and all of it by keyboard."""

import json

from page_flows import card, stand_still

OPERATIONS = {
    "create_session": "Prompt",
    "get_session": "Session ID",
    "list_sessions": "",
    "send_message": "Message",
    "list_session_messages": "Session ID",
    "list_session_attachments": "Session ID",
    "get_session_tags": "Session ID",
    "append_session_tags": "Tags",
    "replace_session_tags": "Tags",
    "archive_session": "Session ID",
    "terminate_session": "Session ID",
}


def drop(page, block, x, y):
    page.drag_and_drop(
        f"[data-block={block}]", ".react-flow__pane", target_position={"x": x, "y": y}
    )


def wire(page, source, target, handle="source"):
    out = card(page, source).locator(f'.react-flow__handle[data-handleid="{handle}"]')
    out.drag_to(card(page, target).locator('.react-flow__handle[data-handleid="target"]'))


def saved(page, expect):
    expect(page.get_by_test_id("saving")).to_have_text("Saved")


def test_blocks_are_dragged_in_and_wired(new_workflow, site, expect):
    page = new_workflow()
    drop(page, "devin", 420, 120)
    drop(page, "response", 720, 300)
    expect(page.locator(".react-flow__node")).to_have_count(3)
    wire(page, "Start", "Devin")
    wire(page, "Devin", "Response")
    wire(page, "Devin", "Response", "error")
    expect(page.locator(".react-flow__edge")).to_have_count(3)
    saved(page, expect)
    state = site.document("Flow")
    names = {key: block["name"] for key, block in state["blocks"].items()}
    drawn = [(names[e["source"]], e["sourceHandle"], names[e["target"]]) for e in state["edges"]]
    assert drawn == [
        ("Start", "source", "Devin"),
        ("Devin", "source", "Response"),
        ("Devin", "error", "Response"),
    ]


def test_the_form_follows_the_operation(new_workflow, site, expect):
    page = new_workflow()
    page.locator("[data-block=devin]").click()
    operation = page.get_by_label("Operation")
    expect(operation.locator("option")).to_have_count(11)
    form = site.app.registry.form("devin")
    for name, required in OPERATIONS.items():
        operation.select_option(name)
        shown = {f.id for f in form if f.shown({"operation": name})}
        drawn = page.locator(".panel form [data-field]")
        expect(drawn).to_have_count(len(shown))
        ids = drawn.evaluate_all("nodes => nodes.map(node => node.dataset.field)")
        assert set(ids) == shown
        marked = page.locator(".panel form [data-field]:has(.required)")
        wanted = {f.id for f in form if f.required({"operation": name})}
        found = marked.evaluate_all("nodes => nodes.map(node => node.dataset.field)")
        assert set(found) == wanted
        if required:
            field = page.locator(".panel").get_by_label(required, exact=False).first
            expect(field).to_be_visible()
    saved(page, expect)


def test_what_is_missing_is_said_at_its_field(new_workflow, expect):
    page = new_workflow()
    page.locator("[data-block=devin]").click()
    field = page.locator("[data-field=prompt]")
    wire(page, "Start", "Devin")
    expect(field.locator(".field-error")).to_contain_text("no value")
    expect(page.locator(".card .badge.is-error")).to_be_visible()
    field.get_by_role("textbox").fill("Fix it")
    expect(field.locator(".field-error")).to_have_count(0)


def test_one_drag_is_one_undo(new_workflow, expect):
    page = new_workflow()
    drop(page, "devin", 420, 120)
    block = card(page, "Devin")
    before = block.bounding_box()
    page.mouse.move(before["x"] + 90, before["y"] + 20)
    page.mouse.down()
    page.mouse.move(before["x"] + 190, before["y"] + 220, steps=6)
    page.mouse.up()
    below = "([card, top]) => card.getBoundingClientRect().top - top > 100"
    page.wait_for_function(below, arg=[block.element_handle(), before["y"]])
    page.get_by_role("button", name="Undo").click()
    back = "([card, top]) => Math.abs(card.getBoundingClientRect().top - top) < 2"
    page.wait_for_function(back, arg=[block.element_handle(), before["y"]])
    page.get_by_role("button", name="Undo").click()
    expect(block).to_have_count(0)
    page.get_by_role("button", name="Redo").click()
    expect(block).to_have_count(1)


def test_copy_cut_paste_duplicate_delete(open_page, new_workflow, expect, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    new_workflow()
    drop(page, "condition", 420, 160)
    nodes = page.locator(".react-flow__node")
    card(page, "Condition").click()
    page.keyboard.press("Control+c")
    page.keyboard.press("Control+v")
    expect(nodes).to_have_count(3)
    expect(card(page, "Condition 2")).to_have_count(1)
    page.keyboard.press("Control+d")
    expect(nodes).to_have_count(4)
    page.keyboard.press("Control+x")
    expect(nodes).to_have_count(3)
    page.keyboard.press("Control+v")
    expect(nodes).to_have_count(4)
    page.keyboard.press("Delete")
    expect(nodes).to_have_count(3)
    for _ in range(3):
        page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    expect(nodes).to_have_count(3)


def test_copies_refer_to_one_another_in_another_tab_too(new_workflow, page, site, expect):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = new_workflow()
    page.locator("[data-block=devin]").click()
    page.locator("[data-block=devin_wait]").click()
    page.get_by_label("Session ID").fill("<devin.sessionId>")
    card(page, "Devin").click()
    card(page, "Devin Wait").click(modifiers=["Control"])
    page.keyboard.press("Control+c")
    saved(page, expect)
    other = page.context.new_page()
    other.goto(site.url)
    other.get_by_label("New workflow").fill("Second")
    other.get_by_role("button", name="Create", exact=True).click()
    stand_still(other)
    for name in ("Devin Wait", "Devin Wait 2"):
        other.locator(".react-flow").focus()
        other.keyboard.press("Control+v")
        expect(card(other, name)).to_have_count(1)
    saved(other, expect)
    blocks = site.document("Second")["blocks"].values()
    refers = {
        b["name"]: b["subBlocks"]["sessionId"]["value"] for b in blocks if b["type"] == "devin_wait"
    }
    assert refers == {"Devin Wait": "<devin.sessionId>", "Devin Wait 2": "<devin2.sessionId>"}


def test_a_copied_condition_has_branches_of_its_own(new_workflow, site, expect):
    page = new_workflow()
    drop(page, "condition", 420, 160)
    page.keyboard.press("Control+d")
    expect(card(page, "Condition 2")).to_have_count(1)
    saved(page, expect)
    ids = [
        row["id"]
        for block in site.document("Flow")["blocks"].values()
        if block["type"] == "condition"
        for row in json.loads(block["subBlocks"]["conditions"]["value"])
    ]
    assert len(ids) == len(set(ids)) == 4


def test_a_block_dropped_into_a_loop_is_inside_it(new_workflow, site, expect):
    page = new_workflow()
    drop(page, "loop", 420, 80)
    drop(page, "devin", 600, 160)
    expect(page.locator(".react-flow__node")).to_have_count(3)
    wire(page, "Loop 1", "Devin", "loop-start-source")
    wire(page, "Start", "Loop 1")
    expect(page.locator(".react-flow__edge")).to_have_count(2)
    saved(page, expect)
    state = site.document("Flow")
    loop = next(b for b in state["blocks"].values() if b["type"] == "loop")
    inner = next(b for b in state["blocks"].values() if b["type"] == "devin")
    assert inner["data"]["parentId"] == loop["id"]
    assert state["loops"][loop["id"]]["nodes"] == [inner["id"]]
    card(page, "Loop 1").locator(".card-head").click()
    page.get_by_label("Runs").select_option("forEach")
    page.get_by_label("Items").fill('["a"]')
    page.keyboard.press("Escape")
    saved(page, expect)
    assert site.document("Flow")["loops"][loop["id"]]["forEachItems"] == '["a"]'


def test_a_rename_follows_into_references(new_workflow, site, expect):
    page = new_workflow()
    drop(page, "devin", 420, 120)
    drop(page, "response", 740, 300)
    page.get_by_label("Response Data Mode").select_option("json")
    page.get_by_label("Response Data", exact=True).fill('{"a": "<devin.sessionId>"}')
    card(page, "Devin").click()
    page.get_by_label("Name", exact=True).fill("Ask Devin")
    page.keyboard.press("Enter")
    expect(card(page, "Ask Devin")).to_have_count(1)
    saved(page, expect)
    blocks = site.document("Flow")["blocks"].values()
    (data,) = [b["subBlocks"]["data"]["value"] for b in blocks if b["type"] == "response"]
    assert data == '{"a": "<askdevin.sessionId>"}'


def test_references_are_completed_with_what_there_is(new_workflow, expect):
    page = new_workflow()
    drop(page, "devin", 420, 120)
    wire(page, "Start", "Devin")
    drop(page, "devin_wait", 740, 300)
    wire(page, "Devin", "Devin Wait")
    card(page, "Devin Wait").click()
    field = page.get_by_label("Session Id", exact=False).first
    field.press_sequentially("<devin.sess")
    option = page.get_by_role("option", name="<devin.sessionId>")
    expect(option).to_be_visible()
    page.keyboard.press("Enter")
    expect(field).to_have_value("<devin.sessionId>")


def test_everything_by_keyboard_alone(new_workflow, site, expect):
    page = new_workflow()
    page.keyboard.press("Control+k")
    page.keyboard.type("create session")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Operation")).to_have_value("create_session")
    page.keyboard.press("e")
    expect(page.get_by_label("Operation")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("Do it")
    expect(page.locator("[data-field=prompt]").get_by_role("textbox")).to_have_value("Do it")
    start = card(page, "Start")
    start.focus()
    page.keyboard.press("Enter")
    connect = page.get_by_label("then → connect to")
    connect.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".react-flow__edge")).to_have_count(1)
    start.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    saved(page, expect)
    page.keyboard.press("Shift+L")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_block_is_disabled_and_enabled(new_workflow, site, expect):
    page = new_workflow()
    drop(page, "devin", 420, 120)
    page.locator(".react-flow__pane").click(position={"x": 300, "y": 500})
    card(page, "Devin").click()
    page.keyboard.press("d")
    expect(card(page, "Devin").locator(".badge", has_text="Off")).to_be_visible()
    page.get_by_role("button", name="Enable").click()
    expect(card(page, "Devin").locator(".badge", has_text="Off")).to_have_count(0)
