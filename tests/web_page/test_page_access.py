"""Accessible in both themes, narrow and wide: axe finds nothing."""

import json
from pathlib import Path

import pytest

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NESTED = Path(__file__).parent / "nested.json"


@pytest.fixture
def violations():
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: cd web && npm ci")

    def violations(page):
        # Settled first: colours that fade in have another contrast half way.
        page.wait_for_timeout(150)
        page.evaluate(AXE.read_text())
        found = page.evaluate("tags => axe.run({runOnly: tags})", TAGS)
        return [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]]

    return violations


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_state_is_accessible(open_page, site, expect, violations, theme):
    (site.folder / "Nested.json").write_bytes(NESTED.read_bytes())
    page = open_page(color_scheme=theme, reduced_motion="reduce")
    assert page.locator("html").get_attribute("data-theme") == theme
    found = {"open": violations(page)}
    page.get_by_role("button", name="Nested", exact=True).click()
    page.locator(".react-flow__node").first.wait_for()
    found["nested"] = violations(page)
    page.locator(".react-flow__node-container").first.locator(".card-head").first.click()
    found["container"] = violations(page)
    page.get_by_role("button", name="Workflows").click()
    page.get_by_role("dialog").get_by_role("button").filter(has_text="First run").click()
    page.get_by_text("Create Session").first.click()
    page.locator(".panel details summary").click()
    found["form"] = violations(page)
    page.locator("[data-field=prompt]").get_by_role("combobox").fill("<sta")
    page.get_by_role("option").first.wait_for()
    found["offers"] = violations(page)
    page.keyboard.press("Escape")
    page.locator("[data-field=prompt]").get_by_role("combobox").fill("")
    expect(page.locator("[data-field=prompt] .field-error")).to_be_visible()
    found["problem"] = violations(page)
    page.locator("[data-field=prompt]").get_by_role("combobox").fill("Do it")
    for key, name in (("Control+k", "add"), ("?", "keys")):
        page.get_by_text("Start", exact=True).last.click()
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
    page.get_by_text("Get Session").first.click()
    for tab in ("Log", "Timeline", "Result", "History"):
        page.get_by_role("tab", name=tab).click()
        found[tab] = violations(page)
    page.set_viewport_size({"width": 860, "height": 700})
    found["narrow"] = violations(page)
    assert {state: what for state, what in found.items() if what} == {}


def test_axe_would_find_something(page, violations):
    page.evaluate("document.querySelector('[type=search]').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('[type=search]').removeAttribute('placeholder')")
    assert json.dumps(violations(page)) != "[]"
