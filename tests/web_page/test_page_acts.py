"""What is done on the page is done once: double clicks, Enter twice, lost answers, two tabs."""

import json
import re
import time

import pytest
from page_flows import CREDENTIALS, block, card, chain, stand_still

ASKS = {"operation": "create_session", "prompt": "Do it. [scenario: asks]", **CREDENTIALS}
WAITS = {"sessionId": "<create.sessionId>", **CREDENTIALS}
SESSIONS = chain(
    block("Start", "start_trigger", 0),
    block("Create", "devin", 300, {**ASKS, "prompt": "Do it."}),
    block("Waiter", "devin_wait", 600, WAITS),
)
ASKING = chain(
    block("Start", "start_trigger", 0),
    block("Create", "devin", 300, ASKS),
    block("Waiter", "devin_wait", 600, WAITS),
)
BY_HAND = chain(
    block("Start", "start_trigger", 0),
    block("Ask", "human_in_the_loop", 300, {"inputFormat": [{"id": "f", "name": "what"}]}),
)
WITH_INPUTS = chain(
    block("Start", "start_trigger", 0, {"inputFormat": [{"id": "f", "name": "what"}]}),
    block("Create", "devin", 300, {**ASKS, "prompt": "Do it."}),
)


@pytest.fixture
def opened(open_page, site):
    """Return a function that puts a workflow into the folder and opens it on a page."""

    def opened(document, **options):
        site.put("flow", document)
        page = open_page(**options)
        page.get_by_role("button", name="flow", exact=True).click()
        stand_still(page)
        return page

    return opened


def run_button(page):
    return page.locator(".toolbar").get_by_role("button", name="Run", exact=True)


def slowed(page, pattern):
    """Keep the answers to some requests back for a moment; note the keys that they carry."""
    keys = []

    def held(route):
        if route.request.method == "GET":
            return route.continue_()
        keys.append(route.request.headers.get("idempotency-key"))
        answer = route.fetch()
        page.wait_for_timeout(150)
        return route.fulfill(response=answer)

    page.route(pattern, held)
    return keys


def status(page):
    return page.get_by_test_id("run-status")


def runs_of(site):
    return site.app.runs.list()


def said(site):
    return [
        item["message"]
        for session in site.simulator.truth()
        for item in session["messages"]
        if item["source"] == "user"
    ]


def by_double_click(page):
    run_button(page).dblclick()


def by_enter_twice(page):
    run_button(page).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")


def by_ctrl_enter_twice(page):
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Control+Enter")


@pytest.mark.parametrize("start", [by_double_click, by_enter_twice, by_ctrl_enter_twice])
@pytest.mark.parametrize("is_slow", [False, True])
def test_a_run_that_is_asked_for_twice_starts_once_and_goes_on(
    opened, site, expect, start, is_slow
):
    page = opened(SESSIONS)
    if is_slow:
        slowed(page, "**/api/runs")
    start(page)
    expect(status(page)).to_have_text("Finished")
    assert [run["state"] for run in runs_of(site)] == ["done"]
    assert len(site.simulator.truth()) == 1


@pytest.mark.parametrize("twice", [False, True])
def test_the_form_of_a_run_starts_it_once(opened, site, expect, twice):
    page = opened(WITH_INPUTS)
    run_button(page).click()
    start = page.get_by_role("button", name="Start the run")
    if twice:
        page.get_by_label("what").press("Enter")
        page.keyboard.press("Enter")
    else:
        start.dblclick()
    expect(status(page)).to_have_text("Finished")
    assert len(runs_of(site)) == len(site.simulator.truth()) == 1


def test_a_double_click_on_run_leaves_its_form_open(opened, site, expect):
    page = opened(WITH_INPUTS)
    run_button(page).dblclick()
    expect(page.get_by_role("dialog", name="Run")).to_be_visible()
    page.wait_for_timeout(300)
    expect(page.get_by_role("button", name="Start the run")).to_be_enabled()
    assert runs_of(site) == []


@pytest.mark.parametrize("label", ["Maximum ACUs", "Maximum number of sessions"])
@pytest.mark.parametrize("typed", ["0", "-5", "NaN", "abc", "0.5", "1e99", "Infinity", "5 or so"])
def test_a_limit_that_is_none_starts_no_run(opened, site, expect, label, typed):
    page = opened(WITH_INPUTS)
    run_button(page).click()
    limit = page.get_by_label(label)
    limit.fill(typed)
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "of at least 1, or leave it empty for no limit"
    )
    expect(limit).to_be_focused()
    expect(limit).to_have_attribute("aria-invalid", "true")
    limit.fill("")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert runs_of(site) == []


def test_the_limits_that_are_typed_belong_to_the_run(opened, site, expect):
    page = opened(WITH_INPUTS)
    for acus, sessions, expected in (("", " ", (None, None)), ("7.5", "3", (7.5, 3))):
        run_button(page).click()
        page.get_by_label("Maximum ACUs").fill(acus)
        page.get_by_label("Maximum number of sessions").fill(sessions)
        page.get_by_role("button", name="Start the run").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(run_button(page)).to_be_enabled(timeout=20000)
        options = site.app.runs.store.run(runs_of(site)[0]["runId"]).options
        assert (options.get("maxAcu"), options.get("maxSessions")) == expected


def test_a_button_says_that_it_is_busy(opened, expect):
    page = opened(BY_HAND)
    held = []

    def hold(route):
        if route.request.method == "POST":
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/runs", hold)
    run_button(page).click()
    busy = page.locator(".toolbar").get_by_role("button", name="Starting…")
    expect(busy).to_be_disabled()
    expect(busy).to_have_attribute("aria-busy", "true")
    (route,) = held
    route.continue_()
    expect(status(page)).to_have_text("Paused")


def test_a_start_whose_answer_was_lost_is_repeated_with_its_key(opened, site, expect):
    page = opened(BY_HAND)
    keys = []

    def lose(route):
        if route.request.method != "POST":
            return route.continue_()
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            return route.continue_()
        route.fetch()
        return route.abort()

    page.route("**/api/runs", lose)
    run_button(page).click()
    expect(run_button(page)).to_be_enabled()
    page.wait_for_timeout(100)
    run_button(page).click()
    expect(status(page)).to_have_text("Paused")
    expect(page.locator(".notice")).to_contain_text("already done the first time")
    assert len(runs_of(site)) == 1
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_an_answer_that_is_clicked_twice_is_given_once(opened, site, expect):
    page = opened(ASKING)
    run_button(page).click()
    reply = card(page, "Waiter").get_by_role("form", name="Reply to Waiter")
    reply.get_by_label("Your answer").fill("main")
    reply.get_by_role("button", name="Send").dblclick()
    expect(status(page)).to_have_text("Finished")
    assert said(site).count("main") == 1


@pytest.fixture
def late_reply(opened, expect):
    """Return the page of a run that has ended, and the form of its session, which asks."""
    document = json.loads(json.dumps(ASKING))
    field = {"id": "onQuestion", "type": "dropdown", "value": "return"}
    document["state"]["blocks"]["waiter"]["subBlocks"]["onQuestion"] = field
    page = opened(document)
    run_button(page).click()
    expect(status(page)).to_contain_text("Finished")
    card(page, "Waiter").click()
    reply = page.get_by_role("form", name="Answer the session")
    expect(reply).to_contain_text("Which branch")
    reply.get_by_label("Your answer").fill("main")
    return page, reply


def test_ctrl_enter_in_an_answer_sends_it_once_and_starts_no_run(late_reply, site, expect):
    page, reply = late_reply
    page.wait_for_timeout(800)  # a start that soon after the last would be taken for its repeat
    slowed(page, "**/messages")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Control+Enter")
    expect(reply).to_contain_text("Sent: main")
    assert said(site).count("main") == 1
    assert len(runs_of(site)) == 1


def test_a_message_to_a_session_that_no_run_waits_for_is_sent_once(late_reply, site, expect):
    page, reply = late_reply
    keys = slowed(page, "**/messages")
    reply.get_by_role("button", name="Send").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(reply).to_contain_text("Sent: main")
    assert said(site).count("main") == 1
    assert keys[0]


def test_a_form_that_is_sent_twice_is_taken_once(opened, site, expect):
    page = opened(BY_HAND)
    run_button(page).click()
    form = page.get_by_role("region", name="Answer Ask")
    keys = slowed(page, "**/answer")
    form.get_by_label("what").fill("this")
    form.get_by_role("button", name="Answer and continue").dblclick()
    expect(status(page)).to_have_text("Finished")
    assert len(keys) == 1


def test_of_two_tabs_that_answer_one_is_told_that_the_other_was_first(
    opened, open_page, site, expect
):
    one = opened(ASKING)
    run_button(one).click()
    replies = []
    other = open_page()
    other.get_by_role("button", name="flow", exact=True).click()
    for page in (one, other):
        reply = card(page, "Waiter").get_by_role("form", name="Reply to Waiter")
        reply.get_by_label("Your answer").fill("main" if page is one else "develop")
        replies.append(reply)
    held = []  # what the other tab sends, until the first has its answer
    other.route(re.compile("/(answer|messages)$"), lambda route: held.append(route))
    replies[1].get_by_role("button", name="Send").click()
    expect(replies[1].get_by_role("button", name="Sending…")).to_be_disabled()
    replies[0].get_by_role("button", name="Send").click()
    expect(status(one)).to_have_text("Finished")
    held[0].continue_()
    expect(other.get_by_role("alert")).to_contain_text("answered by someone else")
    assert said(site).count("main") == 1
    assert "develop" not in said(site)


def test_a_resume_that_is_clicked_twice_runs_what_failed_once_more(opened, site, expect):
    page = opened(
        chain(
            block("Start", "start_trigger", 0),
            block("Fails", "function", 300, {"code": "throw new Error('no')"}),
        )
    )
    run_button(page).click()
    expect(status(page)).to_have_text("Failed")
    slowed(page, "**/resume")
    page.get_by_role("region", name="Resume the run").get_by_role("button").dblclick()
    expect(status(page)).to_have_text("Failed")
    deadline = time.monotonic() + 5
    (run,) = runs_of(site)
    while True:
        kinds = [event.kind for event in site.app.runs.store.events(run["runId"])]
        if kinds.count("run.failed") >= 2:
            break
        assert time.monotonic() < deadline, kinds
        page.wait_for_timeout(50)
    page.wait_for_timeout(300)
    kinds = [event.kind for event in site.app.runs.store.events(run["runId"])]
    assert kinds.count("run.failed") == 2


def test_every_act_of_the_page_carries_a_key(opened, site, expect):
    page = opened(BY_HAND)
    seen = []
    page.on("request", lambda request: seen.append(request))
    page.get_by_role("button", name="Secrets").click()
    page.get_by_label("Name", exact=True).fill("TOKEN")
    page.get_by_label("Value").fill("a value")
    page.get_by_role("button", name="Save", exact=True).dblclick()
    expect(page.get_by_role("button", name="Forget TOKEN")).to_be_visible()
    page.get_by_role("button", name="Forget TOKEN").click()
    expect(page.get_by_role("button", name="Forget TOKEN")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Workflows").click()
    page.get_by_label("New workflow").fill("Second")
    page.get_by_role("button", name="Create", exact=True).dblclick()
    expect(page.get_by_role("heading", name="Second")).to_be_visible()
    page.get_by_role("button", name="Workflows").click()
    page.get_by_role("button", name="Rename Second").click()
    page.get_by_label("New name of Second").fill("Third")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete Third").click()
    page.get_by_role("button", name="Delete the file").click()
    expect(page.get_by_role("button", name="Delete Third")).to_have_count(0)
    acts = [item for item in seen if item.method != "GET"]
    assert {item.method for item in acts} == {"PUT", "POST", "DELETE"}
    assert [item.url for item in acts if not item.headers.get("idempotency-key")] == []
    assert sorted(item.name for item in site.folder.iterdir()) == ["flow.json"]
