"""The fields of a block as it starts: references resolved, and what models read without secrets."""

from __future__ import annotations

import logging
from typing import Any

from sim_devin.calls.ceilings import amount, is_nothing
from sim_devin.engine import events
from sim_devin.engine.contract import BlockError
from sim_devin.engine.model_input import ModelInput, kept_back
from sim_devin.engine.origins import Provenance
from sim_devin.engine.program import Step
from sim_devin.engine.run import BlockLog
from sim_devin.engine.run_state import RunState
from sim_devin.engine.scopes import Scope
from sim_devin.engine.templates import Template
from sim_devin.engine.workflow import Block

logger = logging.getLogger("sim_devin")


def require_ceiling(block: str, field: str, written: Any, value: Any) -> None:
    """Check that a ceiling that was filled in has a value.

    Args:
        block: the block's name.
        field: the field's id.
        written: what stands in the document.
        value: what came of it.

    Raises:
        BlockError: there is nothing, or no number above 0: without the ceiling the call could
            spend anything.
    """
    if is_nothing(written) or amount(value) is not None:
        return
    what = "has no value" if is_nothing(value) or value == written else "is not a number above 0"
    raise BlockError(
        f"{block}.{field} is {str(written)[:200]}, which {what} here",
        hint="Nothing was sent, since the field is a ceiling. Give the reference a value, or "
        "leave the field empty for no ceiling.",
        retry=False,
    )


class Fields:
    """Resolves the fields of the blocks of one run.

    Attributes:
        warnings: (block id, field) -> what the workflow's author should know, once for each.
        provenance: which environment variables may be in which values.
    """

    def __init__(self, run: RunState, provenance: Provenance) -> None:
        self._run = run
        self.provenance = provenance
        self.warnings: dict[tuple[str, str], str] = {}
        program = run.program
        self._model_input = ModelInput(
            provenance,
            run.env,
            lambda: list(program.services.secrets),
            lambda: run.outputs.get(program.start.id),
        )

    def resolve(
        self, step: Step, scope: Scope, log: BlockLog
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a block's fields, and those of its ``also_for_model`` as a model may read them.

        Raises:
            BlockError: a reference names what is not there.
        """
        values = step.constants.copy()
        for_model = {key: values[key] for key in step.also_for_model if key in values}
        shown: dict[str, Any] = {}
        for key, template in step.dynamic:
            if key in step.read_by_models:
                values[key] = self._for_model(step, key, template, scope, log)
                continue
            if key in for_model:
                hide = self._model_input.field(step.node.id)
                for_model[key] = template.for_model(scope, self._run, hide)
            values[key] = template.render(scope, self._run)
            if key in step.ceilings:
                require_ceiling(step.name, key, step.stored[key], values[key])
            if template.has_env:
                shown[key] = template.shown(scope, self._run)
        if shown:
            log.shown = shown
        log.raw_input = values
        return values, for_model

    def _for_model(
        self, step: Step, field: str, template: Template, scope: Scope, log: BlockLog
    ) -> Any:
        hide = self._model_input.field(step.node.id)
        value = template.for_model(scope, self._run, hide)
        if hide.found:
            self.warn(log, step.node.block, kept_back(hide.found), field)
        return value

    def without_variables(self, value: Any, block_id: str) -> Any:
        """Return data without the values of environment variables that a block has."""
        return self._model_input.without(self.provenance.of_inputs(block_id), value)[0]

    def warn(self, log: BlockLog, block: Block, text: str, field: str) -> None:
        """Add a warning to the run's result, once for each field of a block; the run's thread."""
        key = (block.id, field or text)
        if key in self.warnings:
            return
        place = f"{block.name}.{field}" if field else block.name
        self.warnings[key] = told = f"{place}: {text}"
        level = logging.INFO if self._run.is_heard else logging.WARNING
        logger.log(level, "run %s: %s", self._run.run_id, told)
        self._run.emit(events.BLOCK_WARNING, log, {"field": field, "warning": told})
