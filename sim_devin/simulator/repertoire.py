"""Which scenario a session gets."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sim_devin.simulator.answers import Problem
from sim_devin.simulator.builtin_scenarios import BUILTINS
from sim_devin.simulator.scenario import Scenario

_HINT = re.compile(r"\[scenario:\s*([^\]\s]+)\s*\]")


class Repertoire:
    """The built-in scenarios, `custom` ones before them, and the one played by `default`."""

    def __init__(self, custom: Iterable[Scenario], default: str) -> None:
        self._custom = {scenario.name: scenario for scenario in custom}
        if default not in self.scenarios:
            known = ", ".join(self.scenarios)
            raise ValueError(f"no scenario is named {default!r}; there are: {known}")
        self._default = default

    @property
    def scenarios(self) -> dict[str, Scenario]:
        """Return all scenarios by name; custom ones hide built-in ones."""
        return {**BUILTINS, **self._custom}

    def add(self, scenario: Scenario, *, default: bool) -> None:
        """Take in one more scenario, as the default one if asked to."""
        self._custom[scenario.name] = scenario
        if default:
            self._default = scenario.name

    def choose(self, prompt: str, title: str | None, tags: Iterable[str]) -> Scenario:
        """Return the scenario for a new session.

        That is the one the prompt names, else the first custom one that matches, else the
        default. A name that is not known is a 400 `Problem`, so that a slip is noticed.
        """
        hint = _HINT.search(prompt)
        if hint:
            found = self.scenarios.get(hint[1])
            if found is None:
                known = ", ".join(sorted(self.scenarios))
                raise Problem(400, f"The simulator has no scenario {hint[1]!r}; it has {known}")
            return found
        for scenario in self._custom.values():
            if scenario.match is not None and scenario.match.fits(prompt, title, tags):
                return scenario
        return self.scenarios[self._default]
