"""A call that waits for a yes: shown, approved and declined, on its card and below the canvas."""

import pytest
from page_flows import CREDENTIALS, block, card, chain, stand_still

from sim_devin.policy.rules import COSTS_MONEY, Policy


@pytest.fixture
def policy():
    return Policy(confirm=(COSTS_MONEY,))


@pytest.fixture
def held(open_page, site, expect):
    """Return a function that opens a page on which a create is held."""

    def held(**options):
        create = {"operation": "create_session", "prompt": "Drop the tables", **CREDENTIALS}
        site.put(
            "held", chain(block("Start", "start_trigger", 0), block("Create", "devin", 300, create))
        )
        page = open_page(**options)
        page.get_by_role("button", name="held", exact=True).click()
        stand_still(page)
        page.keyboard.press("Control+Enter")
        expect(page.get_by_test_id("run-status")).to_have_text("Paused")
        return page

    return held


def on_card(page):
    return card(page, "Create").get_by_role("region", name="Reply to Create")


def below(page):
    return page.get_by_role("region", name="Answer Create")


@pytest.mark.parametrize("place", [on_card, below])
def test_a_yes_lets_it_go_out(held, site, expect, place):
    page = held()
    expect(card(page, "Create").locator(".status-text")).to_contain_text("for your approval")
    asked = place(page)
    expect(asked).to_contain_text("(devin_create_session)? It costs money.")
    expect(asked).to_contain_text("Drop the tables")
    assert site.simulator.truth() == []
    asked.get_by_role("button", name="Approve").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    expect(asked).to_have_count(0)
    assert len(site.simulator.truth()) == 1


def test_a_no_says_why_and_sends_nothing(held, site, expect):
    page = held()
    asked = below(page)
    asked.get_by_label("Reason (optional)").fill("not these")
    asked.get_by_role("button", name="Decline").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Failed")
    expect(page.get_by_role("tabpanel")).to_contain_text("a person declined: not these")
    assert site.simulator.truth() == []


def test_it_is_decided_by_keyboard_after_a_reload(held, site, expect):
    page = held()
    page.reload()
    stand_still(page)
    yes = below(page).get_by_role("button", name="Approve")
    yes.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_question_is_accessible(held, violations, theme):
    assert violations(held(color_scheme=theme, reduced_motion="reduce")) == []
