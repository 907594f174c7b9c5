"""Each execution on the page: eight questions at once, how sessions end, what a stop leaves."""

import re

import pytest
from page_flows import CREDENTIALS, block, card, chain, inside, stand_still

ASKS = {"operation": "create_session", "prompt": "Do it. [scenario: asks]", **CREDENTIALS}
WAITS = {"sessionId": "<create.sessionId>", **CREDENTIALS}
START = block("Start", "start_trigger", 0)


def asking(count, kind="parallel"):
    """Return a workflow in which that many sessions ask something."""
    return inside(
        kind, count, block("Create", "devin", 40, ASKS), block("Waiter", "devin_wait", 340, WAITS)
    )


def ending(scenario, **waiting):
    prompt = f"Do it. [scenario: {scenario}]"
    return chain(
        START,
        block("Create", "devin", 300, {**ASKS, "prompt": prompt}),
        block("Waiter", "devin_wait", 600, {**WAITS, "onQuestion": "return", **waiting}),
    )


@pytest.fixture
def started(open_page, site):
    """Return a function that opens a workflow on a page and runs it."""

    def started(document, **options):
        site.put("flow", document)
        page = open_page(**options)
        page.get_by_role("button", name="flow", exact=True).click()
        stand_still(page)
        page.keyboard.press("Control+Enter")
        return page

    return started


def status(page):
    return page.get_by_test_id("run-status")


def told(page, name):
    return card(page, name).locator(".status-text").last


def user_messages(site):
    return {
        session["session_id"]: [
            item["message"] for item in session["messages"] if item["source"] == "user"
        ][1:]
        for session in site.simulator.truth()
    }


def test_eight_sessions_that_ask_are_answered_one_by_one_on_the_card(started, site, expect):
    page = started(asking(8))
    asks = card(page, "Waiter").locator(".asks")
    expect(asks).to_contain_text("8 wait for an answer")
    expect(card(page, "Waiter").locator(".card")).to_have_class(re.compile("has-waiting"))
    for left in range(8, 0, -1):
        if left > 1:
            expect(asks.get_by_role("combobox").locator("option")).to_have_count(left)
            # Not the first one, so that it is the choice that counts.
            option = asks.get_by_role("combobox").locator("option").nth(1)
            branch = option.text_content()
            asks.get_by_role("combobox").select_option(label=branch)
        reply = card(page, "Waiter").get_by_role("form", name="Reply to Waiter")
        expect(reply).to_contain_text("Which branch should I target?")
        reply.get_by_label("Your answer").fill(f"answer {left}")
        reply.get_by_role("button", name="Send").click()
        if left == 2:
            expect(asks).to_have_count(0)
        elif left > 2:
            expect(asks).to_contain_text(f"{left - 1} wait for an answer")
            expect(card(page, "Par").locator(".container")).not_to_have_class(
                re.compile("has-done")
            )
    expect(status(page)).to_have_text("Finished", timeout=15000)
    expect(told(page, "Waiter")).to_contain_text("Done")
    said = user_messages(site)
    assert len(said) == 8
    assert sorted(text for texts in said.values() for text in texts) == [
        f"answer {number}" for number in range(1, 9)
    ]
    assert {len(texts) for texts in said.values()} == {1}


def test_the_side_panel_lists_all_of_them(started, site, expect):
    page = started(asking(3))
    expect(card(page, "Waiter").locator(".asks")).to_contain_text("3 wait for an answer")
    card(page, "Waiter").locator(".card-name").click()
    panel = page.get_by_role("complementary", name="Block")
    expect(panel.get_by_role("form", name="Answer the session")).to_have_count(3)
    for branch in ("branch 3", "branch 1", "branch 2"):
        forms = panel.get_by_role("form", name="Answer the session")
        heading = page.get_by_role("heading", name=re.compile(branch, re.IGNORECASE))
        reply = forms.filter(has=heading) if forms.count() > 1 else forms
        left = panel.get_by_role("form", name="Answer the session").count()
        reply.get_by_label("Your answer").fill(branch)
        reply.get_by_role("button", name="Send").click()
        expect(panel.get_by_role("form", name="Answer the session")).to_have_count(left - 1)
    expect(status(page)).to_have_text("Finished", timeout=15000)
    assert sorted(user_messages(site).values()) == [["branch 1"], ["branch 2"], ["branch 3"]]


def test_forms_of_branches_are_all_below_the_canvas_and_on_the_card(started, site, expect):
    form = block("Ask", "human_in_the_loop", 40, {"inputFormat": [{"id": "f", "name": "what"}]})
    page = started(inside("parallel", 3, form))
    expect(status(page)).to_have_text("Paused")
    below = page.get_by_role("tabpanel").get_by_role("region")
    expect(below).to_have_count(3)
    expect(card(page, "Ask").locator(".asks")).to_contain_text("3 wait for an answer")
    for branch in (2, 3, 1):
        region = page.get_by_role("region", name=f"Answer Ask, branch {branch}")
        region.get_by_label("what").fill(str(branch))
        region.get_by_role("button", name="Answer and continue").click()
        expect(region).to_have_count(0)
    expect(status(page)).to_have_text("Finished")


def test_the_questions_of_a_loop_come_one_after_the_other(started, site, expect):
    page = started(asking(2, "loop"))
    for number in (1, 2):
        reply = card(page, "Waiter").get_by_role("form", name="Reply to Waiter")
        expect(card(page, "Par").locator(".status-text").last).to_contain_text(f"pass {number}")
        reply.get_by_label("Your answer").fill(f"answer {number}")
        reply.get_by_role("button", name="Send").click()
        expect(card(page, "Waiter").get_by_text(f"answer {number}")).to_have_count(0)
    expect(status(page)).to_have_text("Finished", timeout=15000)
    assert sorted(user_messages(site).values()) == [["answer 1"], ["answer 2"]]


@pytest.mark.parametrize(
    ("scenario", "words", "kind"),
    [
        ("sleeps", "Asleep", "attention"),
        ("asks", "Waits for an answer", "attention"),
        ("approval", "Waits for approval", "attention"),
        ("out_of_credits", "Out of money", "trouble"),
        ("fails", "Session failed", "trouble"),
    ],
)
def test_a_session_that_is_not_done_is_never_green(started, expect, scenario, words, kind):
    page = started(ending(scenario))
    expect(status(page)).to_have_text("Finished")
    expect(told(page, "Waiter")).to_contain_text(words)
    shown = card(page, "Waiter").locator(".card")
    expect(shown).to_have_class(re.compile(f"has-{kind}"))
    green = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ok')")
    line = card(page, "Waiter").locator(".status")
    color = line.evaluate("node => getComputedStyle(node).color")
    want = page.evaluate(
        "(name) => { const probe = document.createElement('i'); probe.style.color = name;"
        " document.body.append(probe); const found = getComputedStyle(probe).color;"
        " probe.remove(); return found }",
        green,
    )
    assert color != want
    assert status(page).evaluate("node => getComputedStyle(node).color") != want
    expect(page.get_by_test_id("run-summary")).to_contain_text("1 session not done")
    page.get_by_role("tab", name="History").click()
    expect(page.locator(".history tbody tr").first).to_contain_text("1 session not done")


def test_a_parallel_with_a_session_that_sleeps_is_not_green(started, expect):
    document = inside(
        "parallel",
        2,
        block("Create", "devin", 40, {**ASKS, "prompt": "Do it. [scenario: sleeps]"}),
        block("Waiter", "devin_wait", 340, WAITS),
    )
    page = started(document)
    expect(status(page)).to_have_text("Finished")
    expect(card(page, "Par").locator(".container")).to_have_class(re.compile("has-attention"))
    expect(card(page, "Par").locator(".status-text").last).to_contain_text("2 sessions not done")


def test_a_run_in_which_nothing_ran_says_so(started, expect):
    page = started(chain(START, {**block("Off", "function", 300, {"code": "1"}), "enabled": False}))
    expect(status(page)).to_have_text("Finished")
    expect(page.get_by_test_id("run-summary")).to_contain_text("Nothing ran")
    expect(status(page)).to_have_class(re.compile("is-attention"))


def test_a_run_that_ended_lists_the_sessions_that_go_on(started, site, expect):
    page = started(ending("asks"))
    expect(status(page)).to_have_text("Finished")
    left = page.get_by_role("region", name="Sessions still running")
    expect(left).to_contain_text("A session is still running in Devin")
    left.get_by_role("button", name="End it").dblclick()
    expect(left).to_have_count(0)
    assert site.simulator.counts["sessions_terminated"] == 1


def test_a_run_whose_sessions_are_done_lists_none(started, expect):
    page = started(ending("finish"))
    with page.expect_response(re.compile("/sessions$")):
        expect(status(page)).to_have_text("Finished", timeout=20000)
    page.wait_for_timeout(100)
    expect(page.get_by_role("region", name="Sessions still running")).to_have_count(0)


def test_a_stop_shows_what_goes_on_though_the_run_was_hidden(started, expect):
    page = started(asking(2))
    expect(card(page, "Waiter").locator(".asks")).to_contain_text("2 wait for an answer")
    page.get_by_role("button", name="Hide").click()
    page.locator(".toolbar").get_by_role("button", name="Stop").click()
    expect(page.get_by_role("region", name="Sessions still running")).to_be_visible()


def test_a_stop_says_so_while_nobody_knows_which_sessions_go_on(started, expect):
    page = started(asking(2))
    expect(card(page, "Waiter").locator(".asks")).to_contain_text("2 wait for an answer")
    held = []
    page.route("**/sessions", lambda route: held.append(route))
    page.locator(".toolbar").get_by_role("button", name="Stop").click()
    looking = page.get_by_text("The run's Devin sessions continue until they are ended. Checking")
    expect(looking).to_be_visible()
    held[0].fulfill(status=502, json={"error": {"message": "The service is away."}})
    unknown = page.get_by_role("status").filter(has_text="It is not known whether")
    expect(unknown).to_be_visible()
    page.unroute("**/sessions")
    unknown.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("region", name="Sessions still running")).to_be_visible()


def test_sessions_are_ended_though_one_cannot_be(started, site, expect):
    page = started(asking(3))
    expect(card(page, "Waiter").locator(".asks")).to_contain_text("3 wait for an answer")
    page.locator(".toolbar").get_by_role("button", name="Stop").click()
    failed = []

    def refuse(route):
        if failed:
            return route.continue_()
        failed.append(route.request.url)
        return route.fulfill(status=502, json={"error": {"message": "The service is away."}})

    page.route("**/end", refuse)
    left = page.get_by_role("region", name="Sessions still running")
    left.get_by_role("button", name="End all 3 sessions").click()
    expect(page.get_by_role("alert")).to_contain_text("The service is away")
    expect(left).to_contain_text("A session is still running in Devin")
    assert site.simulator.counts["sessions_terminated"] == 2


def test_a_warning_of_a_block_is_shown(started, expect):
    create = {**ASKS, "prompt": "Do it with {{DEVIN_ORG_ID}}"}
    page = started(chain(START, block("Create", "devin", 300, create)))
    expect(status(page)).to_have_text("Finished")
    page.get_by_role("tab", name="Log").click()
    warned = page.locator(".log li").filter(has_text="warning:")
    expect(warned).to_contain_text("DEVIN_ORG_ID")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_stop_leaves_no_form_and_offers_to_end_the_sessions(
    started, site, expect, violations, theme
):
    page = started(asking(2), color_scheme=theme, reduced_motion="reduce")
    expect(card(page, "Waiter").locator(".asks")).to_contain_text("2 wait for an answer")
    assert violations(page) == []
    card(page, "Waiter").locator(".card-name").click()
    page.locator(".toolbar").get_by_role("button", name="Stop").click()
    expect(status(page)).to_have_text("Cancelled")
    expect(page.get_by_role("button", name="Send")).to_have_count(0)
    expect(page.locator(".asks")).to_have_count(0)
    expect(told(page, "Waiter")).to_have_text("Stopped with the run")
    left = page.get_by_role("region", name="Sessions still running")
    expect(left).to_contain_text("2 sessions are still running in Devin")
    expect(left).to_contain_text("may cost more until ended")
    assert violations(page) == []
    assert site.simulator.counts["sessions_terminated"] == 0
    left.get_by_role("button", name="End all 2 sessions").dblclick()
    expect(page.get_by_role("status").filter(has_text="is still running in Devin")).to_have_count(1)
    expect(left).to_have_count(0)
    assert site.simulator.counts["sessions_terminated"] == 2
    (run,) = site.app.runs.list()
    assert site.app.runs.store.waits(run["runId"], only_open=True) == []
