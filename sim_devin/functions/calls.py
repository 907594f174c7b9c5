"""Execute a model's function calls: one dispatcher, under a policy, with text as its answer.

It runs exactly the call it is handed. Nothing that comes back from a tool is ever looked at
for further calls.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sim_devin.calls.ceilings import lowered, lowest, of_tool
from sim_devin.calls.invoke import secrets_of
from sim_devin.errors import Cancelled, InvalidParams, SimDevinError, UnknownName
from sim_devin.functions.schemas import FunctionCall, functions_of
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import Approve
from sim_devin.redaction import Redactor
from sim_devin.specs.models import ToolSpec
from sim_devin.text import whole
from sim_devin.toolbox import Toolbox

logger = logging.getLogger("sim_devin")


class FunctionAnswer(str):
    """What a model is told: the tool's output as JSON text, or an error it can act on.

    Attributes:
        output: the tool's output; None when the call failed.
        error: why it failed, or None.
    """

    __slots__ = ("error", "output")

    output: dict[str, Any] | None
    error: SimDevinError | None

    def __new__(
        cls,
        text: str,
        *,
        output: dict[str, Any] | None = None,
        error: SimDevinError | None = None,
    ) -> FunctionAnswer:
        """Return the answer; `text` is what the model is told."""
        answer = super().__new__(cls, text)
        answer.output, answer.error = output, error
        return answer

    @property
    def is_error(self) -> bool:
        """Whether the call failed."""
        return self.error is not None


def call(
    app: Toolbox,
    name: str,
    arguments: str | Mapping[str, Any] | None = None,
    *,
    bind: Mapping[str, Any] | None = None,
    credentials: Mapping[str, str] | None = None,
    ceilings: Mapping[str, float] | None = None,
    **options: Any,
) -> FunctionAnswer:
    """Execute a model's function call and return the text to answer it with.

    Args:
        app: the app whose tools the model was shown.
        name: the function's name.
        arguments: JSON text or an object, as the provider handed it over.
        bind: parameter -> value fixed by the user, credentials and ceilings included.
        credentials: the connection's fields, over the app's own.
        ceilings: parameter -> the most it may be; the model can only stay below.
        options: `gate` and `approve` as for `carry_out`; `reconcile`, `cancel`, `deadline` and
            `on_progress` as for `App.call`.

    Raises:
        Cancelled: `cancel` was set.
        CallerError: `bind` names something that no tool takes, or a ceiling is none.
    """
    ceilings = lowest(ceilings)
    try:
        called = functions_of(app).read(name, arguments, bind=bind)
    except (InvalidParams, UnknownName) as error:
        return failed(app, name, error)
    try:
        output = carry_out(app, called, ceilings=ceilings, credentials=credentials, **options)
    except Cancelled:
        raise
    except SimDevinError as error:
        return failed(app, name, error)
    given = {**(credentials or {}), **called.params}
    shown = for_model(app, called.spec, given, app.redactor.data(output, queries=False))
    return FunctionAnswer(whole(json.dumps(shown, ensure_ascii=False)), output=output)


def for_model(app: Toolbox, spec: ToolSpec, params: Mapping[str, Any], answer: Any) -> Any:
    """Return a tool's answer without the secrets that a user fixed for the call."""
    connection = app.registry.connections.get(spec.connection or "")
    return Redactor(secrets_of(spec, connection, params)).data(answer, queries=False)


def carry_out(
    app: Toolbox,
    called: FunctionCall,
    *,
    gate: Gate | None = None,
    approve: Approve | None = None,
    ceilings: Mapping[str, float] | None = None,
    act: Callable[..., dict[str, Any]] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Carry out a call that was read, under the policy, and return the tool's output.

    `gate` is the policy to obey, and what has been spent under it; the app's own unless given.
    `approve` is asked when the policy wants approval; without it the answer is no. `act`
    carries the call out; `App.call` unless given, whose `options` it takes. Under a dry run the
    output is what would be sent.

    Raises:
        NotAllowed: the policy refuses it, or nobody said yes.
        SimDevinError: the call failed.
    """
    spec, most = called.spec, lowest(ceilings)
    # What is asked about, and what is reserved, is what can go out at most.
    params = lowered(called.params, of_tool(spec, most))
    gate = gate or app.gate
    with gate.admitted(spec, params, approve) as allowed:
        most = lowest(most, allowed.ceilings)
        if allowed.dry_run:
            return dry_run(
                app, spec, lowered(params, of_tool(spec, most)), options.get("credentials")
            )
        options["ceilings"] = most
        act = act or partial(app.call, admitted=gate.draws_for(app.gate))
        return _call(act, spec, params, options, app.redactor)


def _call(
    act: Callable[..., dict[str, Any]],
    spec: ToolSpec,
    params: Mapping[str, Any],
    options: Mapping[str, Any],
    redactor: Redactor,
) -> dict[str, Any]:
    try:
        return act(spec.id, params, **options)
    except SimDevinError:
        raise
    except Exception as error:
        # A plugin's mistake must not end the conversation; its text may hold anything.
        trace = "".join(traceback.format_exception(error))
        logger.error("the tool %s failed\n%s", spec.id, redactor.text(trace))
        raise SimDevinError(
            f"{spec.id} failed with an internal error: {type(error).__name__}.",
            hint="It may or may not have taken effect; do not repeat it blindly.",
        ) from error


def dry_run(
    app: Toolbox, spec: ToolSpec, params: Mapping[str, Any], credentials: Any = None
) -> dict[str, Any]:
    """Return what a call would send, secrets masked. No I/O."""
    shown: dict[str, Any] = {"dryRun": True, "tool": spec.id}
    if spec.request is None:
        return {**shown, "params": app.redactor.data(dict(params))}
    request = app.build_request(spec.id, params, credentials=credentials)
    return {
        **shown,
        "request": {
            "method": request.method,
            "url": app.redactor.text(request.url),
            "json": app.redactor.data(request.json),
        },
    }


def failed(app: Toolbox, name: str, error: SimDevinError) -> FunctionAnswer:
    """Return an error as the text a model can correct itself from."""
    message = str(error)
    if isinstance(error, InvalidParams) and len(error.problems) > 1:
        message = f"The call has {len(error.problems)} problems. {error.hint}".strip()
    told = {
        "error": True,
        "tool": name,
        "type": type(error).__name__,
        "message": message,
        **{
            key: value
            for key, value in error.to_json().items()
            if key in ("problems", "status", "retry_after", "nearest", "accepted") and value
        },
    }
    text = json.dumps(app.redactor.data(told), ensure_ascii=False)
    return FunctionAnswer(text, error=error)
