"""Running on the page: watched to the end, answered, stopped, looked at again."""

from page_flows import CREDENTIALS, answer_in_panel, block, card, chain, stand_still


def choose(page, name):
    page.get_by_role("button", name=name, exact=True).click()
    stand_still(page)


def run_chain(page, site, name, *blocks):
    """Run blocks that follow one another, as a workflow of that name."""
    site.put(name, chain(*blocks))
    page.reload()
    choose(page, name)
    page.keyboard.press("Control+Enter")


def test_an_example_runs_to_the_end(page, site, expect):
    page.get_by_role("dialog").get_by_role("button").filter(has_text="First run").click()
    page.locator(".toolbar").get_by_role("button", name="Run").click()
    expect(page.get_by_label("task")).not_to_be_empty()
    page.get_by_role("button", name="Start the run").click()
    expect(card(page, "Wait for Devin").locator(".status")).to_contain_text("Waiting")
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    for name in ("Start", "Create Session", "Wait for Devin", "Get Session", "Done"):
        expect(card(page, name).locator(".status-text")).to_contain_text("Done in")
    link = page.locator(".pull-requests a")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(page.locator(".run-state")).to_contain_text("ACU")
    card(page, "Get Session").click()
    panel = page.get_by_role("region", name="In this run")
    expect(panel.get_by_text("Structured output")).to_be_visible()
    expect(panel.get_by_text("Output", exact=False).last).to_be_visible()
    page.get_by_role("tab", name="Timeline").click()
    expect(page.locator(".timeline-row")).to_have_count(5)
    page.get_by_role("tab", name="History").click()
    expect(page.locator(".history tbody tr")).to_have_count(1)
    card(page, "Done").click()
    page.get_by_role("button", name="Run from here").click()
    expect(card(page, "Get Session").locator(".status")).to_have_count(0)
    expect(card(page, "Done").locator(".status-text")).to_contain_text("Done in")
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    page.get_by_role("tab", name="History").click()
    expect(page.locator(".history tbody tr")).to_have_count(2)


def test_a_session_that_waits_is_answered_and_the_run_goes_on(page, site, expect):
    create = {
        "operation": "create_session",
        "prompt": "Do it. [scenario: asks]",
        **CREDENTIALS,
    }
    wait = {"sessionId": "<create.sessionId>", "until": "over", **CREDENTIALS}
    site.put(
        "asks",
        chain(
            block("Start", "start_trigger", 0),
            block("Create", "devin", 300, create),
            block("Waiter", "devin_wait", 600, wait),
        ),
    )
    page.reload()
    choose(page, "asks")
    page.locator(".toolbar").get_by_role("button", name="Run").click()
    expect(card(page, "Waiter").locator(".status")).to_contain_text("waits for an answer")
    expect(card(page, "Waiter").locator(".status a")).to_be_visible()
    answer_in_panel(page, expect)


def test_a_pause_is_answered_by_its_form(page, site, expect):
    fields = [{"id": "f", "name": "approved", "type": "boolean"}, {"id": "g", "name": "why"}]
    done = {"dataMode": "json", "data": '{"ok": <ask.approved>, "why": "<ask.why>"}'}
    run_chain(
        page,
        site,
        "pause",
        block("Start", "start_trigger", 0),
        block("Ask", "human_in_the_loop", 300, {"inputFormat": fields}),
        block("Done", "response", 600, done),
    )
    expect(page.get_by_test_id("run-status")).to_have_text("Paused")
    expect(card(page, "Ask").locator(".status")).to_contain_text("Paused for a person")
    below = page.get_by_role("region", name="Answer Ask")
    below.get_by_label("approved").select_option("true")
    below.get_by_label("why").fill("it is right")
    below.get_by_role("button", name="Answer and continue").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    expect(page.locator(".result")).to_contain_text("it is right")


def test_a_session_that_waits_is_answered_on_its_card(page, site, expect):
    create = {"operation": "create_session", "prompt": "Do it. [scenario: asks]", **CREDENTIALS}
    wait = {"sessionId": "<create.sessionId>", "until": "over", **CREDENTIALS}
    run_chain(
        page,
        site,
        "asks",
        block("Start", "start_trigger", 0),
        block("Create", "devin", 300, create),
        block("Waiter", "devin_wait", 600, wait),
    )
    reply = card(page, "Waiter").get_by_role("form", name="Reply to Waiter")
    expect(reply).to_contain_text("Which branch")
    before = site.document("asks")
    field = reply.get_by_label("Your answer")
    field.click()
    expect(field).to_be_focused()
    page.keyboard.type("main d")  # keys of the canvas are plain letters here
    page.keyboard.press("Backspace")
    page.keyboard.press("ArrowLeft")
    expect(field).to_have_value("main ")
    reply.get_by_role("button", name="Send").press("Enter")
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    expect(card(page, "Waiter").locator(".status-text")).to_contain_text("Done")
    expect(reply).to_have_count(0)
    assert site.document("asks") == before


def test_a_pause_is_answered_on_its_card(page, site, expect):
    fields = [{"id": "f", "name": "approved", "type": "boolean"}, {"id": "g", "name": "why"}]
    run_chain(
        page,
        site,
        "pause",
        block("Start", "start_trigger", 0),
        block("Ask", "human_in_the_loop", 300, {"inputFormat": fields}),
        block("Done", "response", 600, {"dataMode": "json", "data": '{"why": "<ask.why>"}'}),
    )
    reply = card(page, "Ask").get_by_role("region", name="Reply to Ask")
    reply.get_by_label("why").fill("said on the card")
    reply.get_by_role("button", name="Answer and continue").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    expect(reply).to_have_count(0)
    expect(page.locator(".result")).to_contain_text("said on the card")


def test_a_failing_block_says_what_went_wrong(page, site, expect):
    run_chain(
        page,
        site,
        "fails",
        block("Start", "start_trigger", 0),
        block(
            "Get",
            "devin",
            300,
            {"operation": "get_session", "sessionId": "devin-none", **CREDENTIALS},
        ),
    )
    expect(page.get_by_test_id("run-status")).to_have_text("Failed")
    expect(card(page, "Get").locator(".status")).to_contain_text("Failed:")
    expect(page.locator(".result .field-error")).to_contain_text("Get:")


def test_a_run_is_stopped_and_found_again_after_a_reload(page, site, expect):
    create = {"operation": "create_session", "prompt": "x [scenario: never-ends]", **CREDENTIALS}
    wait = {"sessionId": "<create.sessionId>", "timeoutSeconds": "86400", **CREDENTIALS}
    run_chain(
        page,
        site,
        "long",
        block("Start", "start_trigger", 0),
        block("Create", "devin", 300, create),
        block("Waiter", "devin_wait", 600, wait),
    )
    expect(card(page, "Waiter").locator(".status")).to_contain_text("Waiting")
    page.reload()
    expect(card(page, "Waiter").locator(".status")).to_contain_text("Waiting")
    page.locator(".toolbar").get_by_role("button", name="Stop").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Cancelled")


def test_a_workflow_that_cannot_run_says_why(page, site, expect):
    site.put("empty", chain(block("Get", "devin", 0, {"operation": "list_sessions"})))
    page.reload()
    choose(page, "empty")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("start block")
