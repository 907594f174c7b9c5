"""The server ends in mid-run and another takes its place: the page picks the run up."""

import contextlib
import json

import pytest
from page_flows import CREDENTIALS, answer_in_panel, block, card, chain, stand_still

from sim_devin.simulator import SimClock, Simulator
from sim_devin.store.sql_store import open_store
from sim_devin.testing import offline_app


@pytest.fixture
def serve(site, tmp_path):
    """Return a function that serves a canvas over one store and one Devin, until it is left."""
    simulator = Simulator(clock=SimClock(speed=300.0), seed=0)
    store = open_store(tmp_path / "runs.sqlite")
    secrets = tmp_path / "private" / "secrets.json"

    @contextlib.contextmanager
    def serve(**options):
        with offline_app(simulator=simulator, store=store) as app:
            served = type(site)(site.folder, secrets, app, **options)
            try:
                yield served
            finally:
                served.close()

    yield serve
    store.close()


def choose(page, name):
    page.get_by_role("button", name=name, exact=True).click()
    stand_still(page)


def with_session(scenario):
    create = {"operation": "create_session", "prompt": f"Do it. [{scenario}]", **CREDENTIALS}
    wait = {"sessionId": "<create.sessionId>", **CREDENTIALS}
    return chain(
        block("Start", "start_trigger", 0),
        block("Create", "devin", 300, create),
        block("Waiter", "devin_wait", 600, wait),
    )


def asking(open_page, server, expect):
    """Return a page on which a run waits for an answer to what Devin asks."""
    server.put("asks", with_session("scenario: asks"))
    page = open_page()
    page.goto(server.url)
    choose(page, "asks")
    page.locator(".toolbar").get_by_role("button", name="Run").click()
    expect(card(page, "Waiter").locator(".status")).to_contain_text("waits for an answer")
    return page


def test_a_waiting_run_goes_on_with_the_next_server(open_page, serve, expect):
    with serve() as before:
        page = asking(open_page, before, expect)
        page.goto("about:blank")
    with serve() as after:
        page.goto(after.url)
        choose(page, "asks")
        expect(page.get_by_test_id("run-status")).to_have_text("Running")
        expect(card(page, "Start").locator(".status-text")).to_contain_text("Done")
        expect(card(page, "Create").locator(".status-text")).to_contain_text("Done in")
        expect(card(page, "Waiter").locator(".status")).to_contain_text("waits for an answer")
        answer_in_panel(page, expect)
        page.get_by_role("tab", name="History").click()
        expect(page.locator(".history tbody tr")).to_have_count(1)
    page.goto("about:blank")


def test_a_pause_is_answered_on_the_page_of_the_next_server(open_page, serve, expect):
    fields = [{"id": "f", "name": "why", "type": "string"}]
    done = {"dataMode": "json", "data": '{"why": "<ask.why>"}'}
    document = chain(
        block("Start", "start_trigger", 0),
        block("Ask", "human_in_the_loop", 300, {"inputFormat": fields}),
        block("Done", "response", 600, done),
    )
    with serve() as before:
        before.put("pause", document)
        page = open_page()
        page.goto(before.url)
        choose(page, "pause")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_test_id("run-status")).to_have_text("Paused")
        page.goto("about:blank")
    with serve() as after:
        page.goto(after.url)
        choose(page, "pause")
        expect(page.get_by_test_id("run-status")).to_have_text("Paused")
        form = card(page, "Ask")
        form.get_by_label("why").fill("it is right")
        form.get_by_role("button", name="Answer and continue").click()
        expect(page.get_by_test_id("run-status")).to_have_text("Finished")
        expect(page.locator(".result")).to_contain_text("it is right")
    page.goto("about:blank")


def rename_start(page, name):
    """Change the document: the start block gets another name."""
    page.locator(".card-name").first.click()
    field = page.get_by_role("complementary", name="Block").get_by_label("Name", exact=True)
    field.fill(name)
    field.press("Enter")


def names_in(file):
    blocks = json.loads(file.read_text())["state"]["blocks"].values()
    return [item["name"] for item in blocks]


def test_a_page_left_open_goes_on_with_the_next_server(open_page, serve, expect):
    """The run is followed on, each block counted once, and what was edited meanwhile is saved."""
    with serve() as before:
        page = asking(open_page, before, expect)
        port = before.port
    expect(page.get_by_role("alert")).to_contain_text("does not respond")
    rename_start(page, "Begin")
    expect(page.get_by_test_id("saving")).to_have_text("Not saved")
    with serve(port=port) as after:
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.get_by_test_id("saving")).to_have_text("Saved")
        assert names_in(after.folder / "asks.json") == ["Begin", "Create", "Waiter"]
        reply = card(page, "Waiter").get_by_role("form", name="Reply to Waiter")
        reply.get_by_label("Your answer").fill("main")
        reply.get_by_role("button", name="Send").click()
        expect(page.get_by_test_id("run-status")).to_have_text("Finished")
        expect(card(page, "Create").locator(".status-text")).not_to_contain_text("times")
    page.goto("about:blank")


def test_a_server_with_another_token_asks_for_its_link_and_keeps_what_is_unsaved(
    open_page, serve, expect
):
    with serve() as before:
        page = asking(open_page, before, expect)
        port = before.port
    with serve(port=port, token="a-token-of-the-next-server") as after:
        expect(page.get_by_role("alert")).to_contain_text("Open the new link")
        rename_start(page, "Begin")
        expect(page.get_by_test_id("saving")).to_have_text("Not saved")
        page.evaluate("address => { location.href = address; }", after.url)
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.get_by_test_id("saving")).to_have_text("Saved")
        assert names_in(after.folder / "asks.json") == ["Begin", "Create", "Waiter"]
        assert page.evaluate("location.hash") == "#/asks"
        expect(page.get_by_test_id("run-status")).to_have_text("Running")
        after.app.runs.cancel(after.app.runs.list()[0]["runId"])
        expect(page.get_by_test_id("run-status")).to_have_text("Cancelled")
    page.goto("about:blank")


def test_a_run_that_ended_with_its_server_is_said_to_be_lost(open_page, site, expect):
    site.put("asks", with_session("scenario: asks"))
    page = open_page()
    choose(page, "asks")
    page.locator(".toolbar").get_by_role("button", name="Run").click()
    expect(card(page, "Waiter").locator(".status")).to_contain_text("waits for an answer")
    site.close()
    expect(page.get_by_role("alert")).to_contain_text("does not respond")
    with offline_app() as app:
        after = type(site)(site.folder, site.folder.parent / "secrets.json", app, port=site.port)
        expect(page.get_by_test_id("run-status")).to_have_text("Lost")
        expect(page.get_by_role("alert")).to_contain_text("no longer knows this run")
        page.goto("about:blank")
        after.close()
