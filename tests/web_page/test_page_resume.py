"""Runs that stand still, resumed and decided on the page; runs that somebody else started."""

from datetime import datetime, timedelta

import pytest
from page_flows import CREDENTIALS, block, card, chain, stand_still

from sim_devin.simulator.faults import Fault


@pytest.fixture
def simulator(site):
    return site.simulator


def choose(page, name):
    page.get_by_role("button", name=name, exact=True).click()
    stand_still(page)


def creating(prompt="Do it."):
    create = {"operation": "create_session", "prompt": prompt, **CREDENTIALS}
    return block("Create", "devin", 300, create)


START = block("Start", "start_trigger", 0)
ASK = block("Ask", "human_in_the_loop", 300, {"inputFormat": [{"id": "f", "name": "why"}]})


def run_chain(page, site, name, *blocks):
    site.put(name, chain(*blocks))
    page.reload()
    choose(page, name)
    page.keyboard.press("Control+Enter")


def test_a_failed_run_is_resumed_and_does_nothing_twice(page, site, simulator, expect):
    get = {"operation": "get_session", "sessionId": "<create.sessionId>", **CREDENTIALS}
    fault = Fault("status", method="GET", path="/sessions/", status=404, detail="Gone")
    simulator.faults.add(fault)
    run_chain(page, site, "fails", START, creating(), block("Get", "devin", 600, get))
    expect(page.get_by_test_id("run-status")).to_have_text("Failed")
    resume = page.get_by_role("region", name="Resume the run")
    expect(resume).to_contain_text("Failed blocks run again")
    simulator.faults.clear()
    resume.get_by_role("button", name="Resume").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    expect(card(page, "Get").locator(".status-text")).to_contain_text("Done")
    expect(resume).to_have_count(0)
    assert len(simulator.truth()) == 1


def test_a_failed_run_is_resumed_from_the_history(page, site, simulator, expect):
    fault = Fault("status", method="POST", path="/sessions", status=404, detail="Gone")
    simulator.faults.add(fault)
    run_chain(page, site, "fails", START, creating())
    expect(page.get_by_test_id("run-status")).to_have_text("Failed")
    page.reload()
    stand_still(page)
    simulator.faults.clear()
    page.get_by_role("tab", name="History").click()
    page.get_by_role("row", name="Failed").get_by_role("button", name="Resume").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")


@pytest.mark.parametrize(
    ("choice", "status", "sessions"),
    [("Look again", "Uncertain", 0), ("do it again", "Finished", 1), ("Give up", "Failed", 0)],
)
def test_what_is_uncertain_is_decided_in_words(
    page, site, simulator, expect, choice, status, sessions
):
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False, times=1))
    run_chain(page, site, "lost", START, creating())
    expect(page.get_by_test_id("run-status")).to_have_text("Uncertain")
    asked = page.get_by_role("region", name="Answer Create")
    expect(asked.get_by_role("button")).to_have_count(3)
    below = page.get_by_role("tabpanel")
    below.get_by_role("button", name=choice).click()
    if choice == "Look again":
        page.get_by_text("The run started").nth(1).wait_for()
    expect(page.get_by_test_id("run-status")).to_have_text(status)
    assert len(simulator.truth()) == sessions


def test_a_session_that_was_found_is_taken_for_the_uncertain_one(page, site, simulator, expect):
    made = site.app.call("devin_create_session", {"prompt": "Do it."})["sessionId"]
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    run_chain(page, site, "lost", START, creating())
    asked = card(page, "Create").get_by_role("region", name="Reply to Create")
    asked.get_by_label("Session id").fill(made)
    asked.get_by_role("button", name="It was carried out, in this session").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    assert len(simulator.truth()) == 1


def test_a_run_that_somebody_else_started_is_shown_on_a_click(page, site, expect):
    site.put("shared", chain(START, ASK))
    page.reload()
    choose(page, "shared")
    run = site.app.runs.start(site.folder / "shared.json")
    site.app.runs.store.put_file(run, site.folder / "shared.json", 0)
    told = page.get_by_text("this workflow")
    told.wait_for()
    expect(page.get_by_test_id("run-status")).to_have_count(0)
    page.get_by_role("tab", name="History").click()
    expect(page.locator(".history tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Watch").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Paused")
    expect(told).to_have_count(0)
    site.app.runs.answer(run, {"why": "answered elsewhere"})
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")


def test_a_renamed_file_keeps_its_runs(page, site, expect):
    run_chain(page, site, "before", START)
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    page.get_by_role("button", name="Workflows").click()
    page.get_by_role("button", name="Rename before").click()
    page.get_by_label("New name of before").fill("after")
    page.get_by_role("form", name="Rename before").get_by_role("button", name="Rename").click()
    page.get_by_role("button", name="Close").click()
    page.reload()
    stand_still(page)
    page.get_by_role("tab", name="History").click()
    expect(page.locator(".history tbody tr")).to_contain_text("after")


def test_a_loop_counts_its_passes_while_it_runs(page, site, expect):
    again = block("Again", "loop", 300)
    again["data"] = {"loopType": "for", "count": 3, "width": 520, "height": 260}
    wait = {"sessionId": "<create.sessionId>", **CREDENTIALS}
    inside = [
        {**creating("x [scenario: asks]"), "data": {"parentId": "again", "extent": "parent"}},
        {**block("Waiter", "devin_wait", 250, wait), "data": {"parentId": "again"}},
    ]
    document = chain(START, again)
    document["state"]["blocks"] |= {item["id"]: item for item in inside}
    document["state"]["edges"] += [
        {"id": "in", "source": "again", "target": "create", "sourceHandle": "loop-start-source"},
        {"id": "on", "source": "create", "target": "waiter", "sourceHandle": "source"},
    ]
    site.put("loops", document)
    page.reload()
    choose(page, "loops")
    page.keyboard.press("Control+Enter")
    expect(card(page, "Again").locator(".status")).to_contain_text("Running, pass 1")
    for number in (2, 3):
        reply = card(page, "Waiter").get_by_role("form", name="Reply to Waiter")
        reply.get_by_label("Your answer").fill("main")
        reply.get_by_role("button", name="Send").click()
        expect(card(page, "Again").locator(".status")).to_contain_text(f"Running, pass {number}")
    reply = card(page, "Waiter").get_by_role("form", name="Reply to Waiter")
    reply.get_by_label("Your answer").fill("main")
    reply.get_by_role("button", name="Send").click()
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    page.get_by_role("tab", name="Timeline").click()
    rows = page.locator(".timeline-row")
    expect(rows.filter(has_text="Again")).to_have_count(1)
    begins = {
        row.locator("button").inner_text(): float(row.locator("rect").get_attribute("x"))
        for row in rows.all()
    }
    assert begins["Again"] <= begins["Create (iteration 0)"] < begins["Create (iteration 1)"]


def test_moments_are_told_by_the_clock_of_who_looks(open_page, site, expect):
    site.put("quick", chain(START))
    page = open_page(timezone_id="Asia/Kathmandu")
    choose(page, "quick")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_test_id("run-status")).to_have_text("Finished")
    page.get_by_role("tab", name="History").click()
    began = page.locator(".history time")
    moment = datetime.fromisoformat(began.get_attribute("datetime"))
    there = moment + timedelta(hours=5, minutes=45)
    expect(began).to_have_text(there.strftime("%Y-%m-%d %H:%M:%S"))
