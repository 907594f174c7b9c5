"""Pages: followed to their end, whatever the service makes of its cursors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.calls.paging import items, pages
from sim_devin.errors import NothingSent, UnreadableResponse
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import Fault

CURSORS = st.sampled_from(["A", "B", "C", "", None, 7])
PAGES = st.lists(st.tuples(st.sampled_from([True, False, None]), CURSORS), min_size=1, max_size=8)


def page(more, cursor, *found):
    return {"sessions": list(found), "hasNextPage": more, "endCursor": cursor}


@given(PAGES)
def test_a_list_ends_or_is_an_error_after_as_many_pages_as_there_are_cursors(told):
    asked = []

    def fetch(after):
        asked.append(after)
        return page(*told[(len(asked) - 1) % len(told)], len(asked))

    try:
        found = items(fetch, "sessions")
    except UnreadableResponse:
        assert len(asked) <= 5  # three cursors, the first page, and the one that came again
    else:
        assert found == list(range(1, len(asked) + 1))
        assert not told[len(asked) - 1][0]
    assert asked == list(dict.fromkeys(asked))  # no page is asked for twice


def test_every_page_with_a_new_cursor_is_too_much_at_some_point():
    asked = []

    def fetch(after):
        asked.append(after)
        return page(True, f"cursor {len(asked)}")

    with pytest.raises(UnreadableResponse, match="no end: 7 pages"):
        list(pages(fetch, longest=7))
    assert len(asked) == 7


def test_another_page_without_a_cursor_is_not_taken_for_the_end():
    with pytest.raises(UnreadableResponse, match="without a cursor"):
        items(lambda _after: page(True, None, "a"), "sessions")


def test_a_message_is_not_sent_while_the_messages_before_it_cannot_be_counted():
    transport = SimulatedTransport()
    app = sim_devin.open_app(
        transport=transport,
        clock=transport.clock,
        credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
        env={},
        discover=False,
    )
    session = app.call("devin_create_session", {"prompt": "Fix it"})["sessionId"]
    transport.simulator.faults.add(Fault("circle", path="/messages$", method="GET", times=None))
    with pytest.raises(NothingSent, match="repeats a page"):
        app.call("devin_send_message", {"sessionId": session, "message": "Go on"}, reconcile=True)
    assert transport.simulator.counts["messages_stored"] == 0


def test_a_list_that_goes_round_in_circles_for_a_while_costs_a_message_time_alone():
    transport = SimulatedTransport()
    app = sim_devin.open_app(
        transport=transport,
        clock=transport.clock,
        credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
        env={},
        discover=False,
    )
    session = app.call("devin_create_session", {"prompt": "Fix it"})["sessionId"]
    transport.simulator.faults.add(Fault("circle", path="/messages$", method="GET", times=5))
    app.call("devin_send_message", {"sessionId": session, "message": "Go on"}, reconcile=True)
    assert transport.simulator.counts["messages_stored"] == 1
