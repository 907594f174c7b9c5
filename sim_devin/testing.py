"""A kit for testing plugins; pytest loads it automatically wherever this package is installed.

Fixtures:

- `sim_devin_plugins`: override it to return the plugins under test::

      @pytest.fixture
      def sim_devin_plugins():
          return [acme_devin]

- `sim_devin_app`: an app with these plugins and the built-in ones, using the simulator. It
  discovers no installed plugins, reads neither environment nor config file, and is strict.
- `sim_devin_registry`: that app's registry.
- `devin_simulator`: its simulator. The clock moves only while something waits or when
  ``devin_simulator.clock.advance(seconds)`` is called.

Functions: `assert_tool_conforms`, `assert_block_conforms`, and `offline_app` with
`StubTransport` for tools of a service other than Devin.
"""

# pytest imports this module at startup, in every project where the package is installed, and before
# coverage starts. So nothing else of the package is imported until it is needed.

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.calls.request import Request
    from sim_devin.calls.response import Response
    from sim_devin.plugins.registry import Registry
    from sim_devin.simulator import Simulator
    from sim_devin.specs.jobs import JobSpec
    from sim_devin.specs.models import BlockSpec, ToolSpec


class StubTransport:
    """A transport that returns prepared responses in order and records the requests.

    A response is a JSON value (sent with status 200), a `Response`, or an exception to raise.

    Attributes:
        requests: the requests sent, in order.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    def send(self, request: Request, *, timeout: float) -> Response:  # noqa: ARG002 - the contract
        """Return the next response.

        Raises:
            AssertionError: there is none left.
        """
        from sim_devin.calls.response import Response

        self.requests.append(request)
        if not self.answers:
            raise AssertionError(f"no response is left for {request!r}")
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Response):
            return answer
        return Response(200, {"content-type": "application/json"}, json.dumps(answer).encode())


def offline_app(
    plugins: Iterable[object] = (),
    *,
    transport: Any = None,
    simulator: Simulator | None = None,
    credentials: Mapping[str, str | Mapping[str, str]] | None = None,
    **options: Any,
) -> App:
    """Return an app that does not depend on this machine and makes no connections.

    Args:
        plugins: modules or objects with hooks; a path is a folder of spec files.
        transport: responds instead of the simulator, such as a `StubTransport`.
        simulator: the simulator to use; default: a new one.
        credentials: fields of additional connections; Devin's are filled in.
        options: as in `sim_devin.open_app`; the default model is simulated.

    Raises:
        PluginError: a plugin is broken.
    """
    from sim_devin.app import open_app
    from sim_devin.simulated import SimulatedModel, SimulatedTransport
    from sim_devin.simulator import SimClock

    plugins = list(plugins)
    clock = SimClock(speed=0)
    if simulator is not None and isinstance(simulator.clock, SimClock):
        clock = simulator.clock
    return open_app(
        transport=transport or SimulatedTransport(clock, simulator),
        clock=clock,
        plugins=[plugin for plugin in plugins if not isinstance(plugin, (str, Path))],
        specs=[plugin for plugin in plugins if isinstance(plugin, (str, Path))],
        credentials=credentials,
        discover=False,
        strict=True,
        env=_EMPTY_HANDED,
        **{"llm": SimulatedModel(), **options},
    )


# An empty config file instead of the user's, and credentials, so that the keyring is not used.
_EMPTY_HANDED = {
    "SIM_DEVIN_CONFIG": os.devnull,
    "DEVIN_API_KEY": "cog_simulated_key",
    "DEVIN_ORG_ID": "org-simulated",
}


@pytest.fixture
def sim_devin_plugins() -> Iterable[object]:
    """The plugins under test: modules or objects with hooks, or paths of spec folders."""
    return ()


@pytest.fixture
def devin_simulator() -> Simulator:
    """A simulated Devin whose clock moves only by waiting or advancing."""
    from sim_devin.simulator import SimClock, Simulator

    return Simulator(clock=SimClock(speed=0), seed=0)


@pytest.fixture
def sim_devin_app(sim_devin_plugins: Iterable[object], devin_simulator: Simulator) -> Iterator[App]:
    """An app with the plugins under test and the simulator."""
    with offline_app(sim_devin_plugins, simulator=devin_simulator) as app:
        yield app


@pytest.fixture
def sim_devin_registry(sim_devin_app: App) -> Registry:
    """The built-in tools and blocks together with those of the plugins under test."""
    return sim_devin_app.registry


def assert_tool_conforms(
    spec: ToolSpec, registry: Registry, *, answers: Iterable[Any] = ()
) -> None:
    """Check that a tool is consistent, documented, safe to retry, readable, and keeps secrets.

    Args:
        spec: the tool.
        registry: contains its connection.
        answers: response bodies of the service (JSON values or bytes), which must be read into
            outputs that match the schema. By default one is generated from the schema.

    Raises:
        AssertionError: lists every problem.
    """
    __tracebackhide__ = True
    from sim_devin.plugins.conformance import tool_violations

    _assert_none(f"tool {spec.id}", tool_violations(spec, registry, answers))


def assert_block_conforms(block: BlockSpec, registry: Registry) -> None:
    """Check that a block's fields and operations match its tools, and examples pass through it.

    Raises:
        AssertionError: lists every problem.
    """
    __tracebackhide__ = True
    from sim_devin.plugins.conformance import block_violations

    _assert_none(f"block {block.type}", block_violations(block, registry))


def assert_job_conforms(job: JobSpec, registry: Registry) -> None:
    """Check a kind of job: its tools exist and have the effects that their roles imply.

    Raises:
        AssertionError: with everything that is wrong.
    """
    __tracebackhide__ = True
    from sim_devin.plugins.conformance import job_violations

    _assert_none(f"job {job.id}", job_violations(job, registry))


def _assert_none(subject: str, violations: Iterable[str]) -> None:
    __tracebackhide__ = True
    found = list(violations)
    if found:
        raise AssertionError(
            "\n".join((f"{subject} does not conform:", *(f"- {v}" for v in found)))
        )
