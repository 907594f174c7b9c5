"""Accessible in both themes, narrow and wide: axe finds nothing."""

from pathlib import Path

import pytest
from page_flows import CREDENTIALS, block, chain, stand_still

from sim_devin.simulator.faults import Fault

NESTED = Path(__file__).parent / "nested.json"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_state_is_accessible(open_page, site, expect, violations, theme):
    (site.folder / "Nested.json").write_bytes(NESTED.read_bytes())
    page = open_page(color_scheme=theme, reduced_motion="reduce")
    assert page.locator("html").get_attribute("data-theme") == theme
    found = {"open": violations(page)}
    page.get_by_role("button", name="Nested", exact=True).click()
    stand_still(page)
    found["nested"] = violations(page)
    page.locator(".react-flow__node-container").first.locator(".card-head").first.click()
    found["container"] = violations(page)
    page.get_by_role("button", name="Workflows").click()
    page.get_by_role("dialog").get_by_role("button").filter(has_text="First run").click()
    page.locator(".card-name", has_text="Create Session").click()
    page.locator(".panel details summary").click()
    found["form"] = violations(page)
    page.locator("[data-field=prompt]").get_by_role("textbox").fill("<sta")
    page.locator(".offers [role=option]").first.wait_for()
    found["offers"] = violations(page)
    page.keyboard.press("Escape")
    page.locator("[data-field=prompt]").get_by_role("textbox").fill("")
    expect(page.locator("[data-field=prompt] .field-error")).to_be_visible()
    found["problem"] = violations(page)
    page.locator("[data-field=prompt]").get_by_role("textbox").fill("Do it")
    for target in (".card-name", ".react-flow__pane"):
        page.locator(target).first.click(button="right", position={"x": 5, "y": 5})
        page.get_by_role("menu").wait_for()
        found[f"menu of {target}"] = violations(page)
        page.keyboard.press("Escape")
    for key, name in (("Control+k", "add"), ("?", "keys")):
        page.locator(".card-name", has_text="Start").click()
        page.keyboard.press(key)
        page.get_by_role("dialog").wait_for()
        found[name] = violations(page)
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Secrets").click()
    found["secrets"] = violations(page)
    page.keyboard.press("Escape")
    page.locator(".toolbar").get_by_role("button", name="Run").click()
    found["inputs"] = violations(page)
    page.get_by_role("button", name="Start the run").click()
    page.get_by_text("Waiting:").first.wait_for()
    found["running"] = violations(page)
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    page.locator(".card-name", has_text="Get Session").click()
    for tab in ("Log", "Timeline", "Result", "History"):
        page.get_by_role("tab", name=tab).click()
        found[tab] = violations(page)
    page.set_viewport_size({"width": 860, "height": 700})
    found["narrow"] = violations(page)
    assert {state: what for state, what in found.items() if what} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_answering_on_a_card_is_accessible(open_page, site, expect, violations, theme):
    fields = [{"id": "f", "name": "approved", "type": "boolean"}, {"id": "g", "name": "why"}]
    create = {"operation": "create_session", "prompt": "Do it. [scenario: asks]", **CREDENTIALS}
    wait = {"sessionId": "<create.sessionId>", "until": "over", **CREDENTIALS}
    start = block("Start", "start_trigger", 0)
    ask = block("Ask", "human_in_the_loop", 300, {"inputFormat": fields})
    site.put("pause", chain(start, ask))
    waiter = block("Waiter", "devin_wait", 600, wait)
    site.put("asks", chain(start, block("Create", "devin", 300, create), waiter))
    page = open_page(color_scheme=theme, reduced_motion="reduce")
    asking = (("pause", "region", "Reply to Ask"), ("asks", "form", "Reply to Waiter"))
    for name, role, form in asking:
        if name == "asks":
            page.get_by_role("button", name="Workflows").click()
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.locator(".toolbar h1")).to_have_text(name)
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role(role, name=form)).to_be_visible()
        page.locator(".card-name", has_text=form.removeprefix("Reply to ")).click()
        assert violations(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_stands_still_is_accessible(open_page, site, expect, violations, theme):
    """Runs that failed, are uncertain or are somebody else's; a server that is away, or another."""
    create = {"operation": "create_session", "prompt": "Do it.", **CREDENTIALS}
    start = block("Start", "start_trigger", 0)
    get = {"operation": "get_session", "sessionId": "devin-none", **CREDENTIALS}
    site.put("fails", chain(start, block("Get", "devin", 300, get)))
    site.put("lost", chain(start, block("Create", "devin", 300, create)))
    ask = block("Ask", "human_in_the_loop", 300, {"inputFormat": [{"id": "g", "name": "why"}]})
    site.put("shared", chain(start, ask))
    page = open_page(color_scheme=theme, reduced_motion="reduce")
    found = {}
    page.get_by_role("button", name="fails", exact=True).click()
    stand_still(page)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_test_id("run-status")).to_have_text("Failed")
    found["failed"] = violations(page)
    site.simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    page.get_by_role("button", name="Workflows", exact=True).click()
    page.get_by_role("button", name="lost", exact=True).click()
    expect(page.locator(".toolbar h1")).to_have_text("lost")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_test_id("run-status")).to_have_text("Uncertain")
    found["uncertain"] = violations(page)
    page.get_by_role("tab", name="History").click()
    found["history"] = violations(page)
    page.get_by_role("button", name="Workflows", exact=True).click()
    page.get_by_role("button", name="shared", exact=True).click()
    expect(page.locator(".toolbar h1")).to_have_text("shared")
    stand_still(page)
    run = site.app.runs.start(site.folder / "shared.json")
    site.app.runs.store.put_file(run, site.folder / "shared.json", 0)
    expect(page.get_by_role("button", name="Watch")).to_be_visible()
    found["started elsewhere"] = violations(page)
    site.close()
    expect(page.get_by_role("alert")).to_contain_text("does not respond")
    found["away"] = violations(page)
    secrets = site.folder.parent / "secrets.json"
    other = type(site)(site.folder, secrets, site.app, port=site.port, token="another-token")
    expect(page.get_by_role("alert")).to_contain_text("Open the new link")
    found["another server"] = violations(page)
    page.set_viewport_size({"width": 800, "height": 700})
    found["narrow"] = violations(page)
    page.goto("about:blank")
    other.close()
    assert {state: what for state, what in found.items() if what} == {}


def test_the_palette_keeps_its_names_where_only_icons_fit(open_page, site, expect):
    page = open_page(viewport={"width": 800, "height": 700})
    palette = page.get_by_role("navigation", name="Blocks", include_hidden=True)
    for name in ("Devin", "Condition", "Loop"):
        expect(
            palette.get_by_role("button", name=name, exact=True, include_hidden=True)
        ).to_have_count(1)


def test_axe_would_find_something(page, violations):
    page.get_by_label("New workflow").evaluate(
        "node => { node.removeAttribute('id'); node.removeAttribute('placeholder'); }"
    )
    assert "label" in [name for name, _ in violations(page)]
