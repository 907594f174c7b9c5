"""Schedules: when they are due, that each moment starts one run, and what they can be."""

import json
import logging
import re
import tomllib
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from sim_devin.cli.main import cli
from sim_devin.errors import CallerError
from sim_devin.service.scheduler import Scheduler
from sim_devin.service.schedules import Schedule, read_schedules
from tests.durable.flows import block, flow

ROOT = Path(__file__).parents[2]
# Zones whose clocks change at night, at midnight, by half an hour, and never.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe"]
CRONS = [
    "* * * * *",
    "*/7 * * * *",
    "30 2 * * *",
    "15 1 * * *",
    "45 1,2 * * SUN",
    "0 0 * * *",
    "*/20 0 * * SUN",
    "0 9 1 * MON-FRI",
    "5 4 L * *",
]


def at(text, zone="UTC"):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def schedule(cron="0 9 * * *", zone="UTC", name="nightly", **values):
    return Schedule(name, Path("flow.json"), cron, ZoneInfo(zone), **values)


# -- which moments are due -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "zone", "after", "until", "expected"),
    [
        ("0 9 * * *", "UTC", "2026-11-24T08:59", "2026-11-24T09:00", ["2026-11-24T09:00"]),
        ("0 9 * * *", "UTC", "2026-11-24T09:00", "2026-11-25T08:59", []),
        (
            "0 9 * * *",
            "Europe/Berlin",
            "2026-11-24T00:00",
            "2026-11-25T23:00",
            ["2026-11-24T08:00", "2026-11-25T08:00"],
        ),
        # The clocks skip 02:00 to 03:00: a fixed time comes at 03:00 instead, which is 01:00 UTC.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00",
            "2026-03-30T12:00",
            ["2026-03-29T01:00", "2026-03-30T00:30"],
        ),
        # They repeat 02:00 to 03:00: a fixed time comes the first time, at 00:30 UTC.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            "2026-10-25T12:00",
            ["2026-10-25T00:30"],
        ),
        # It is between the two: not once more.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", "2026-10-25T12:00", []),
    ],
)
def test_due(cron, zone, after, until, expected):
    found = list(schedule(cron, zone).due(at(after), at(until)))
    assert found == [at(text) for text in expected]


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 9 13 * FRI", "6 13 20 27"),  # either
        ("0 9 */2 * FRI", "13 27"),  # both
        ("0 9 ? * MON", "2 9 16 23 30"),
        ("0 9 13 * ?", "13"),
        ("0 9 L * *", "30"),
        ("0 9 * * 5L", "27"),
        ("0 9 * * FRI#2", "13"),
        ("@weekly", "8 15 22 29"),
        (" @MONTHLY ", ""),
    ],
)
def test_days_are_those_of_the_documentation(cron, days):
    [found] = read_schedules({"nightly": {"workflow": str(Path(__file__)), "cron": cron}})
    due = found.due(at("2026-11-01T00:00"), at("2026-12-01T00:00") - 1)
    assert [datetime.fromtimestamp(moment, UTC).day for moment in due] == [
        int(day) for day in days.split()
    ]


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("@reboot", "@daily"),
        ("0 0 9 * * *", "Seconds"),
        ("0 9 15W * *", "15W"),
        ("0 9 L-3 * *", "L-3"),
        ("H 9 * * *", "H is not"),
        ("0 9 30 2 *", "five fields"),
        ("? 9 * * *", "five fields"),
    ],
)
def test_a_cron_that_is_not_supported_is_refused_with_the_reason(cron, reason):
    with pytest.raises(CallerError) as refused:
        read_schedules({"nightly": {"workflow": str(Path(__file__)), "cron": cron}})
    assert cron in refused.value.message
    assert reason in refused.value.hint


def clock_changes(zone):
    """Return the hours of 2026 in which the clocks of a zone change."""
    hours = range(int(at("2026-01-01")), int(at("2027-01-01")), 3600)
    offsets = [datetime.fromtimestamp(hour, ZoneInfo(zone)).utcoffset() for hour in hours]
    return [
        hour for hour, (one, other) in zip(hours, pairwise(offsets), strict=False) if one != other
    ]


@st.composite
def looks(draw):
    """Draw a zone and the moments of some looks in it, often about when its clocks change."""
    zone = draw(st.sampled_from(ZONES))
    begin = draw(st.sampled_from([*clock_changes(zone), int(at("2026-06-30"))]))
    steps = draw(st.lists(st.floats(0, 5400) | st.floats(0, 86400), min_size=1, max_size=6))
    offset = draw(st.sampled_from([-3e-7, 0.0, 59.9999997]) | st.floats(-86400, 60))
    return zone, list(accumulate(steps, initial=begin + 60 * draw(st.integers(-180, 180)) + offset))


AUTUMN = at("2026-10-25T01:10")  # the second 02:10 in Berlin


@given(st.sampled_from(CRONS), looks())
@example("30 2 * * *", ("Europe/Berlin", [AUTUMN - 3600, AUTUMN, AUTUMN + 3600]))
def test_no_moment_is_lost_or_due_twice_however_often_is_looked(cron, looks):
    zone, looks = looks
    begin, one = looks[0], schedule(cron, zone)
    whole = list(one.due(begin, looks[-1]))
    parts = [moment for after, until in pairwise(looks) for moment in one.due(after, until)]
    assert parts == whole
    assert whole == sorted(set(whole))
    assert all(begin < moment <= looks[-1] and moment % 60 == 0 for moment in whole)
    assert one.latest(begin, looks[-1]) == (whole[-1] if whole else None)
    assert len({one.run_id(moment) for moment in whole}) == len(whole)
    assert [one.moment(one.run_id(moment)) for moment in whole] == whole


def test_a_moment_is_due_when_the_look_before_was_next_to_it():
    assert list(schedule("* * * * *").due(AUTUMN - 3e-7, AUTUMN)) == [AUTUMN]


def test_the_latest_of_years_is_found_without_counting_the_minutes():
    one = schedule("* * * * *")
    assert one.latest(0.0, at("2026-11-24T09:00:30")) == at("2026-11-24T09:00")
    assert schedule("0 0 29 2 *").latest(0.0, at("2026-11-24")) == at("2024-02-29")
    assert schedule().latest(at("2026-11-24T10:00"), at("2026-11-24T11:00")) is None


def test_a_run_is_called_by_its_schedule_and_utc_minute():
    one = schedule(zone="Europe/Berlin")
    (first,) = one.following(at("2026-11-24"), 1)
    assert first.isoformat() == "2026-11-24T09:00:00+01:00"
    assert one.run_id(first.timestamp()) == "schedule-nightly-20261124T0800Z"


# -- starting --------------------------------------------------------------------------------

FORM = block("ask", "human_in_the_loop", inputFormat=[{"name": "branch", "type": "string"}])
SHOWN = block("end", "response", dataMode="json", data='{"to": "<start.branch>"}')


@pytest.fixture
def workflow(tmp_path):
    """Return a function that writes the workflow of the schedules; without blocks it ends."""

    def write(*blocks):
        file = tmp_path / "flow.json"
        file.write_text(json.dumps(flow(*blocks) if blocks else flow(SHOWN)))
        return file

    write()
    return write


@pytest.fixture
def open_worker(open_app, workflow):
    """Return a function that opens a worker with schedules, each every ten minutes."""

    def open_one(*names, **values):
        declared = {
            name: {"workflow": str(workflow()), "cron": "*/10 * * * *", **values}
            for name in names or ("a",)
        }
        app = open_app()
        return app, Scheduler(app, read_schedules(declared))

    return open_one


@pytest.fixture
def clock(transport):
    """The clock, half a minute after a moment of the schedules."""
    clock = transport.clock
    clock.advance(600 - clock.time() % 600 + 30)
    return clock


def ids(app):
    return sorted(run["runId"] for run in app.runs.list())


@pytest.mark.parametrize("overlap", ["start", "skip"])
def test_each_moment_starts_one_run_whoever_is_first(open_worker, clock, caplog, overlap):
    workers = [open_worker(overlap=overlap), open_worker(overlap=overlap)]
    app = workers[0][0]
    assert not any(scheduler.start_due() for _, scheduler in workers)
    expected = []
    for turn in range(3):
        clock.advance(600)
        minute = datetime.fromtimestamp(clock.time(), UTC)
        expected.append(f"schedule-a-{minute:%Y%m%dT%H%MZ}")
        order = workers if turn % 2 else workers[::-1]
        assert [scheduler.start_due() for _, scheduler in order] == [True, False]
        assert [scheduler.start_due() for _, scheduler in order] == [False, False]
        app.runs.work(once=True)
    assert ids(app) == expected
    assert not caplog.records


@pytest.mark.parametrize("overlap", ["start", "skip"])
def test_two_workers_at_the_same_moment_start_one_run(
    open_worker, clock, monkeypatch, caplog, overlap
):
    (app, one), (_, other) = open_worker(overlap=overlap), open_worker(overlap=overlap)
    clock.advance(600)
    real = type(app.runs).start

    def start_late(self, *arguments, **options):
        monkeypatch.setattr(type(app.runs), "start", real)
        assert one.start_due()  # quicker, after the other has looked
        return real(self, *arguments, **options)

    monkeypatch.setattr(type(app.runs), "start", start_late)
    assert not other.start_due()
    assert len(ids(app)) == 1
    assert not caplog.records


def test_a_worker_drives_what_its_schedules_start(open_worker, clock):
    app, scheduler = open_worker(inputs={"branch": "main"})
    clock.advance(600)
    app.runs.work(once=True, each_turn=scheduler.start_due)
    (run,) = app.runs.list()
    assert run["state"] == "done"
    assert app.runs.show(run["runId"])["result"]["output"]["data"] == {"to": "main"}


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_a_worker_that_slept_starts_the_latest_moment_only(open_worker, clock):
    app, scheduler = open_worker()
    clock.advance(86400)
    moment = datetime.fromtimestamp(clock.time(), UTC)
    assert scheduler.start_due()
    assert ids(app) == [f"schedule-a-{moment:%Y%m%dT%H%MZ}"]
    assert not scheduler.start_due()


@pytest.mark.parametrize("catch_up", [True, False])
def test_what_was_due_while_no_worker_ran(open_worker, clock, catch_up):
    app, scheduler = open_worker("a", "a-1", catch_up=catch_up)
    assert not scheduler.start_due()  # never ran before: it begins now
    clock.advance(600)
    scheduler.start_due()
    app.runs.work(once=True)
    clock.advance(3 * 3600)
    app, scheduler = open_worker("a", "a-1", catch_up=catch_up)
    assert scheduler.start_due() is catch_up
    minute = datetime.fromtimestamp(clock.time(), UTC).strftime("%Y%m%dT%H%MZ")
    made_up = {f"schedule-a-{minute}", f"schedule-a-1-{minute}"}
    assert (set(ids(app)) & made_up == made_up) is catch_up
    assert len(ids(app)) == (4 if catch_up else 2)


def test_a_run_that_has_not_ended_keeps_the_next_from_starting(
    open_worker, workflow, clock, caplog
):
    app, scheduler = open_worker("a", "a-1")
    _, late = open_worker("a")
    workflow(FORM)
    clock.advance(600)
    scheduler.start_due()
    app.runs.work(once=True)
    first = ids(app)
    assert len(first) == 2
    app.runs.cancel(first[0])  # that of a-1
    clock.advance(600)
    with caplog.at_level(logging.INFO):
        assert scheduler.start_due()
        assert not scheduler.start_due()
        assert not late.start_due()
    skipped = [record.getMessage() for record in caplog.records]
    assert len(skipped) == 2  # once for each worker
    assert all(text.endswith(f"is skipped: {first[1]} has not ended") for text in skipped)
    assert len(ids(app)) == 3
    app.runs.cancel(first[1])
    clock.advance(600)
    assert late.start_due()


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_a_workflow_that_cannot_be_started_does_not_stop_the_others(
    open_app, workflow, clock, caplog, tmp_path
):
    bad = tmp_path / "bad.json"
    bad.write_text("not JSON")
    declared = {
        name: {"workflow": str(file), "cron": "* * * * *", "overlap": "start"}
        for name, file in {"bad": bad, "good": workflow()}.items()
    }
    app = open_app()
    scheduler = Scheduler(app, read_schedules(declared))
    clock.advance(60)
    assert scheduler.start_due()
    (run_id,) = ids(app)
    assert run_id.startswith("schedule-good-")
    assert "schedule bad cannot start its workflow: " in caplog.text
    bad.write_text(json.dumps(flow(SHOWN)))
    clock.advance(60)
    scheduler.start_due()
    assert len(ids(app)) == 3


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_a_workflow_begins_at_its_schedule_trigger(open_app, tmp_path, clock):
    file = tmp_path / "flow.json"
    document = flow(
        block("tick", "schedule"),
        block("end", "response", dataMode="json", data='{"to": "<tick.branch>"}'),
        start=False,
    )
    file.write_text(json.dumps(document))
    declared = {"workflow": str(file), "cron": "* * * * *", "inputs": {"branch": "main"}}
    app = open_app()
    scheduler = Scheduler(app, read_schedules({"a": declared}))
    clock.advance(60)
    app.runs.work(once=True, each_turn=scheduler.start_due)
    run = app.runs.show(ids(app)[0])
    assert run["result"]["output"]["data"] == {"to": "main"}


# -- what can be declared --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "message", "hint"),
    [
        ("a", {"cron": None}, "cron expression: None", "five fields"),
        ("a", {"cron": "* * * * * *"}, "cron", "five fields"),
        ("a", {"cron": "61 * * * *"}, "Bad minute", "five fields"),
        ("a", {"cron": "0 0 31 2 *"}, "Bad day-of-month", "five fields"),
        ("a", {"timezone": "Europe/Atlantis"}, "timezone: 'Europe/Atlantis'", "IANA"),
        ("a", {"timezone": "../etc/passwd"}, "timezone", "IANA"),
        ("a", {"timezone": "Europe"}, "timezone", "IANA"),
        ("a", {"workflow": "none.json"}, "not a file", "worker was started"),
        ("a", {"workflow": None}, "no workflow", "path"),
        ("a", {"corn": "* * * * *"}, "Unknown key 'corn'", "cron"),
        ("a", {"inputs": "x"}, "inputs", "[schedules.a.inputs]"),
        ("a", {"overlap": "wait"}, "overlap: 'wait'", "skip or start"),
        ("a", {"catch_up": "yes"}, "catch_up", "true or false"),
        ("a/b", {}, "Invalid schedule name", "letters"),
    ],
)
def test_what_is_wrong_is_said_with_how_to_mend_it(workflow, name, changes, message, hint):
    declared = {"workflow": str(workflow()), "cron": "* * * * *", **changes}
    with pytest.raises(CallerError) as caught:
        read_schedules({name: declared})
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("table", ["text", {"a": "text"}])
def test_odd_tables(table):
    with pytest.raises(CallerError):
        read_schedules(table)


def test_the_schedule_of_the_documentation_can_be(workflow):
    page = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```toml\n(\[schedules.*?)^```", page, re.MULTILINE | re.DOTALL)
    tables = tomllib.loads(code)["schedules"]
    tables["nightly"]["workflow"] = str(workflow())
    (read,) = read_schedules(tables)
    assert (read.name, read.zone.key, read.inputs) == ("nightly", "Europe/Berlin", {"label": "bug"})


# -- commands --------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path, workflow):
    file = tmp_path / "config.toml"
    file.write_text(
        f'[schedules.nightly]\nworkflow = "{workflow().as_posix()}"\ncron = "30 2 * * *"\n'
        'timezone = "Europe/Berlin"\n'
    )
    return file


def run(*arguments):
    return CliRunner().invoke(cli, [str(item) for item in arguments])


def test_the_schedules_are_listed_with_their_next_moments(config):
    result = run("schedules", "--config", config, "--json")
    (line,) = result.stdout.splitlines()
    listed = json.loads(line)
    assert (listed["name"], listed["timezone"], listed["overlap"]) == (
        "nightly",
        "Europe/Berlin",
        "skip",
    )
    moments = [datetime.fromisoformat(text) for text in listed["next"]]
    assert len(moments) == 3
    assert moments == sorted(moments)
    assert moments[0] > datetime.now(UTC)
    table = run("schedules", "--config", config).stdout
    assert "nightly" in table
    assert f"{moments[2]:%Y-%m-%d %H:%M}" in table


def test_without_schedules_it_says_where_they_would_be(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("")
    result = run("schedules", "--config", file)
    assert result.exit_code == 0
    assert f"[schedules.NAME] in {file}" in result.stderr


def test_a_worker_does_not_start_with_a_schedule_that_cannot_be(config):
    assert run("worker", "--simulate", "--once", "--config", config).exit_code == 0
    config.write_text(config.read_text().replace("30 2", "99 2"))
    result = run("worker", "--simulate", "--once", "--config", config)
    assert result.exit_code == 2
    assert "five fields" in result.output
