"""Documents on the page: imported as they are, saved by themselves, never over somebody else's."""

import json
from pathlib import Path

from page_flows import card, stand_still

NESTED = Path(__file__).parent / "nested.json"
CANARY = "cog_canary_0123"


def open_nested(page, site):
    (site.folder / "Nested.json").write_bytes(NESTED.read_bytes())
    page.reload()
    page.get_by_role("button", name="Nested", exact=True).click()
    stand_still(page)


def drop_file(page, name, text):
    """Drop a file on the canvas as a file manager does."""
    page.locator(".page").evaluate(
        """(node, [name, text]) => {
            const data = new DataTransfer();
            data.items.add(new File([text], name, {type: "application/json"}));
            const target = node.querySelector(".react-flow__pane") ?? node;
            const about = {dataTransfer: data, bubbles: true, cancelable: true};
            target.dispatchEvent(new DragEvent("drop", about));
        }""",
        [name, text],
    )


def test_an_export_is_imported_by_dropping_it(new_workflow, site, expect):
    page = new_workflow()
    drop_file(page, "Nested.json", NESTED.read_text())
    expect(page.locator(".toolbar h1")).to_have_text("Nested")
    expect(page.locator(".react-flow__node")).to_have_count(8)
    expect(page.locator(".react-flow__edge")).to_have_count(6)
    expect(card(page, "Rocket")).to_contain_text("Unknown block")
    expect(page.locator(".note")).to_have_text("Mind the gap \u2013 <b>not bold</b>")
    assert site.document("Nested") == json.loads(NESTED.read_text())["state"]
    # Both at one moment: the view is still moving to show the whole workflow.
    page.wait_for_function(
        """([inner, outer]) => {
            const [i, o] = [inner.getBoundingClientRect(), outer.getBoundingClientRect()];
            return o.left < i.left && i.right < o.right;
        }""",
        arg=[card(page, "Inner").element_handle(), card(page, "Outer").element_handle()],
    )


def test_what_is_no_workflow_is_not_imported(new_workflow, expect):
    page = new_workflow()
    for text in ("{}", "null", "[]", "5"):
        drop_file(page, f"odd {text}.json", text)
        expect(page.get_by_role("alert")).to_contain_text(f"odd {text}.json is not a workflow")
    drop_file(page, "odd.json", "{")
    expect(page.get_by_role("alert")).to_contain_text("not JSON")


def test_a_file_of_any_name_is_imported(new_workflow, site, expect):
    page = new_workflow()
    drop_file(page, "[old] " + "\u6f22" * 90 + ".json", NESTED.read_text())
    expect(page.locator(".toolbar h1")).to_have_text("old] " + "\u6f22" * 55)


def test_a_file_that_cannot_be_drawn_leaves_the_page_in_use(page, site, expect):
    note = {"id": "a", "type": "note", "name": "Note", "subBlocks": {}}
    unknown = {**note, "type": "odd", "position": {"x": 0, "y": 0}, "subBlocks": {"x": None}}
    site.put("broken", {"blocks": {"a": note}, "edges": []})
    site.put("odd", {"blocks": {"a": unknown}, "edges": []})
    page.reload()
    page.get_by_role("button", name="broken", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Block a missing or invalid position")
    page.get_by_role("button", name="Workflows", exact=True).click()
    page.get_by_role("button", name="odd", exact=True).click()
    expect(card(page, "Note")).to_contain_text("Unknown block")


def test_an_edit_changes_its_bytes_and_no_others(page, site, expect):
    open_nested(page, site)
    page.locator(".note").click()
    page.get_by_label("Content").fill("Mind")
    expect(page.get_by_test_id("saving")).to_have_text("Saved")
    before, after = NESTED.read_text(), (site.folder / "Nested.json").read_text()
    changed = after.replace('"value": "Mind"', '"value": "Mind the gap \\u2013 <b>not bold</b>"')
    assert json.loads(changed) == json.loads(before)
    for kept in ('{"keep": [1.0, 2e2]}', '"x": 0.0', '"value": 1.50'):
        assert kept in after


def test_moving_out_of_a_loop_cuts_the_edges_across(page, site, expect):
    open_nested(page, site)
    card(page, "Rest").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".react-flow__node")).to_have_count(7)
    card(page, "Outer").locator(".card-head").first.click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".react-flow__node")).to_have_count(3)
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".react-flow__node")).to_have_count(8)
    expect(page.get_by_test_id("saving")).to_have_text("Saved")
    assert site.document("Nested") == json.loads(NESTED.read_text())["state"]


def test_the_layout_is_tidied(page, site, expect):
    open_nested(page, site)
    page.get_by_role("button", name="Tidy up").click()
    page.wait_for_function(
        """cards => {
            const [start, outer, rocket] = cards.map(c => c.getBoundingClientRect());
            return start.right < outer.left && outer.right < rocket.left;
        }""",
        arg=[card(page, name).element_handle() for name in ("Start", "Outer", "Rocket")],
    )


def test_a_workflow_survives_a_reload(new_workflow, expect):
    page = new_workflow("Mine")
    page.locator("[data-block=note]").click()
    page.get_by_label("Content").fill("Remember")
    expect(page.get_by_test_id("saving")).to_have_text("Saved")
    page.reload()
    expect(page.locator(".note")).to_have_text("Remember")
    assert "token" not in page.url


def test_somebody_elses_change_is_not_overwritten(new_workflow, site, expect):
    page = new_workflow("Mine")
    document = json.loads((site.folder / "Mine.json").read_text())
    next(iter(document["state"]["blocks"].values()))["name"] = "Theirs"
    site.put("Mine", document)
    page.locator("[data-block=note]").click()
    expect(page.get_by_role("alert")).to_contain_text("changed elsewhere")
    page.get_by_role("button", name="Save mine as a copy").click()
    expect(page.locator(".toolbar h1")).to_have_text("Mine (copy)")
    expect(page.locator(".note")).to_have_count(1)
    names = [block["name"] for block in site.document("Mine")["blocks"].values()]
    assert names == ["Theirs"]


def test_a_conflict_is_settled_either_way(new_workflow, site, expect):
    page = new_workflow("Mine")
    for answer, count in (("Load theirs", 1), ("Keep mine", 2)):
        document = json.loads((site.folder / "Mine.json").read_text())
        document["state"]["metadata"] = {"name": answer}
        site.put("Mine", document)
        page.locator("[data-block=note]").click()
        page.get_by_role("button", name=answer).click()
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator(".react-flow__node")).to_have_count(count)
        assert len(site.document("Mine")["blocks"]) == count


def test_no_other_workflow_takes_the_place_of_one_in_conflict(new_workflow, site, expect):
    new_workflow("Other").get_by_role("button", name="Workflows").click()
    page = new_workflow("Mine")
    document = json.loads((site.folder / "Mine.json").read_text())
    document["state"]["metadata"] = {"name": "Theirs"}
    site.put("Mine", document)
    page.locator("[data-block=note]").click()
    page.get_by_role("button", name="Workflows").click()
    page.get_by_role("button", name="Other", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("Mine is not saved")
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Keep mine").click()
    expect(page.get_by_test_id("saving")).to_have_text("Saved")
    assert len(site.document("Mine")["blocks"]) == 2


def test_an_export_leaves_secrets_out(page, site, expect):
    document = json.loads((NESTED.parents[2] / "examples" / "first_run.json").read_text())
    for block in document["state"]["blocks"].values():
        if "apiKey" in block["subBlocks"]:
            block["subBlocks"]["apiKey"]["value"] = CANARY
    site.put("mine", document)
    page.reload()
    page.get_by_role("button", name="mine", exact=True).click()
    expect(page.locator(".react-flow__node")).to_have_count(5)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    exported = json.loads(Path(download.value.path()).read_text())
    blocks = exported["state"]["blocks"].values()
    assert [b["subBlocks"]["apiKey"]["value"] for b in blocks if "apiKey" in b["subBlocks"]] == [
        None
    ] * 3


def test_a_key_of_any_block_is_kept_by_name_and_shown_nowhere(new_workflow, site, expect):
    page = new_workflow("Mine")
    page.locator("[data-block=agent]").click()
    field = page.locator("[data-field=apiKey]")
    field.get_by_role("button", name="Enter a value").click()
    expect(field.locator("input[type=password]")).to_be_visible()
    field.get_by_label("Name of the secret").fill("MODEL_KEY")
    field.locator("input[type=password]").fill(CANARY)
    field.get_by_role("button", name="Save as MODEL_KEY").click()
    expect(field.locator("select")).to_have_value("{{MODEL_KEY}}")
    expect(page.get_by_test_id("saving")).to_have_text("Saved")
    assert CANARY not in page.content() + (site.folder / "Mine.json").read_text()


def test_literal_secrets_are_left_out_of_copies_and_exports(new_workflow, expect):
    page = new_workflow("Mine")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("[data-block=devin]").click()
    page.get_by_text("Advanced").click()
    page.locator("[data-field=sessionSecrets] textarea").fill(
        f'[{{"key": "A", "value": "{CANARY}"}}]'
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    card(page, "Devin").click()
    page.keyboard.press("Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    for text in (Path(download.value.path()).read_text(), copied):
        assert "sessionSecrets" in text
        assert CANARY not in text


def test_what_is_typed_into_a_header_of_a_secret_is_left_out_of_copies_and_exports(
    new_workflow, expect
):
    page = new_workflow("Mine")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("[data-block=api]").click()
    headers = page.get_by_role("group", name="Headers")
    for number, (key, value) in enumerate(
        [("Authorization", f"Bearer {CANARY}"), ("X-Api-Key", "{{KEPT}}"), ("Accept", "text/plain")]
    ):
        headers.get_by_role("button", name="Add a row").click()
        headers.get_by_label(f"{number + 1}: Key").fill(key)
        headers.get_by_label(f"{number + 1}: Value").fill(value)
    assert CANARY not in card(page, "API").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    card(page, "API").locator(".card-name").click()
    page.keyboard.press("Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    for text in (Path(download.value.path()).read_text(), copied):
        assert all(word in text for word in ("Authorization", "{{KEPT}}", "text/plain"))
        assert CANARY not in text
    expect(headers.get_by_label("1: Value")).to_have_value(f"Bearer {CANARY}")


def test_a_key_never_comes_back(page, site, expect):
    """Typed on the page, stored by the server, used by a run: seen nowhere afterwards."""
    page.add_init_script(
        """
        const ask = window.fetch;
        window.bodies = [];
        window.fetch = async (...what) => {
            const answer = await ask(...what);
            answer.clone().text().then(text => window.bodies.push(text), () => undefined);
            return answer;
        };
        """
    )
    page.reload()
    page.get_by_label("New workflow").fill("Mine")
    page.get_by_role("button", name="Create", exact=True).click()
    page.locator("[data-block=devin]").click()
    page.locator("[data-field=prompt]").get_by_role("textbox").fill("Use {{DEVIN_API_KEY}}")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Enter a value…").click()
    page.locator("[data-field=apiKey] input").fill(CANARY)
    page.get_by_role("button", name="Save as DEVIN_API_KEY").click()
    expect(page.locator("[data-field=apiKey] select")).to_have_value("{{DEVIN_API_KEY}}")
    card(page, "Start").click()
    page.get_by_label("then → connect to").select_option(label="Devin")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    card(page, "Devin").click()
    expect(page.get_by_role("region", name="In this run")).to_contain_text("Input")
    bodies = page.evaluate("window.bodies")
    page.reload()
    stand_still(page)
    bodies += page.evaluate("window.bodies")
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    values = page.evaluate(
        "[...document.querySelectorAll('input, textarea, select')].map(node => node.value).join()"
    )
    seen = [page.content(), kept, values, *bodies]
    assert len(bodies) > 8
    assert not any(CANARY in text for text in seen)
    assert CANARY not in (site.folder / "Mine.json").read_text()


def test_files_are_renamed_and_deleted(new_workflow, site, expect):
    page = new_workflow("First")
    page.get_by_role("button", name="Workflows").click()
    page.get_by_role("button", name="Rename First").click()
    field = page.get_by_label("New name of First")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    page.get_by_role("button", name="Rename First").click()
    field.fill("Second")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Second", exact=True)).to_be_visible()
    expect(page.locator(".toolbar h1")).to_have_text("Second")
    page.keyboard.press("Escape")
    page.locator("[data-block=devin]").click()
    expect(page.get_by_test_id("saving")).to_have_text("Saved")
    assert [item.name for item in site.folder.iterdir()] == ["Second.json"]
    assert len(site.document("Second")["blocks"]) == 2
    page.reload()
    expect(page.locator(".toolbar h1")).to_have_text("Second")
    page.get_by_role("button", name="Workflows").click()
    page.get_by_role("button", name="Delete Second").click()
    question = page.get_by_role("form", name="Delete Second")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    assert len(list(site.folder.iterdir())) == 1
    page.get_by_role("button", name="Delete Second").click()
    question.get_by_role("button", name="Delete the file").click()
    expect(page.get_by_role("button", name="Delete Second")).to_have_count(0)
    expect(page.locator(".react-flow__node")).to_have_count(0)
    assert list(site.folder.iterdir()) == []


def test_a_file_that_was_changed_meanwhile_is_not_deleted(new_workflow, site, expect):
    page = new_workflow("Mine")
    page.get_by_role("button", name="Workflows").click()
    page.get_by_role("button", name="Delete Mine").click()
    page.get_by_role("button", name="Delete the file").wait_for()
    file = site.folder / "Mine.json"
    file.write_text(file.read_text().replace('"Start"', '"Begin"'))
    page.get_by_role("button", name="Delete the file").click()
    expect(page.locator(".notice.is-error")).to_contain_text("changed elsewhere")
    assert file.exists()
