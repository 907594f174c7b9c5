"""What the check passes runs, and what runs it passes: of workflows, and of mutants of them."""

import random
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sim_devin
from sim_devin.engine.workflow_check import check
from sim_devin.runs.services import AppServices

pytest.importorskip("quickjs", reason="conditions and functions need the extra [js]")

SCRIPTS = Path(__file__).parents[2] / "scripts"
SEED = 20261128


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield import_module("mutate_workflows")
    finally:
        sys.path.remove(str(SCRIPTS))


def explained(tally):
    return [*tally.could_know, *tally.refused_well]


def test_a_sample_of_mutants_is_judged_as_it_runs(script):
    tally = script.run(script.recorded(script.RECORDED), 80, SEED)
    assert tally.could_know == []
    assert len(tally.refused_well) <= 1, explained(tally)
    assert tally.well > 35  # or the sample says nothing
    assert tally.refused > 8


@pytest.mark.slow
def test_five_thousand_mutants_are_judged_as_they_run(script):
    seed = random.randrange(10**9)
    tally = script.run(script.recorded(script.RECORDED), 5000, seed)
    assert tally.is_good, (seed, explained(tally))


def test_recorded_workflows_that_run_to_the_end_have_no_error_and_reasons_for_warnings(script):
    app = sim_devin.open_app(simulate=True, discover=False, env={})
    wrong = [
        (case.name, problem)
        for case in script.recorded(script.RECORDED)
        if case.ends_well
        for problem in check(case.document, AppServices(app), env=case.env, kind=case.trigger)
        if problem.level == "error" or not (problem.place and problem.hint)
    ]
    assert wrong == []
