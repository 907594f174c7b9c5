"""Which values of a durable run are secret, by name, and how another process finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sim_devin.engine.program import Program
from sim_devin.engine.references import EnvName, split
from sim_devin.engine.workflow import Workflow
from sim_devin.redaction import is_secret_name
from sim_devin.store.records import Run
from sim_devin.store.sealing import OPEN, OWN, Seal, marker

if TYPE_CHECKING:
    from sim_devin.app import App


def known(
    app: App,
    programs: Mapping[str, Program],
    env: Mapping[str, str],
    also: Iterable[str] = (),
) -> dict[str, str]:
    """Return name -> value of what is secret in a run of these programs (by prefix).

    Variables that secret fields refer to, whose name says so or that are named in `also`,
    the app's credentials, and secrets that stand in the documents.
    """
    names = {name for name in env if is_secret_name(name)} | set(also)
    for program in programs.values():
        names |= _referred_to(program)
    found = {f"env:{name}": env[name] for name in sorted(names) if env.get(name)}
    for connection in app.registry.connections.values():
        credentials = app.credentials_of(connection.id)
        for name, field in connection.fields.items():
            if field.secret and credentials.get(name):
                found[f"app:{connection.id}.{name}"] = credentials[name]
    for prefix, program in programs.items():
        for (block_id, name), value in literal_secrets(program).items():
            found[f"{OWN}{prefix}{block_id}.{name}"] = value
    return found


def _referred_to(program: Program) -> set[str]:
    return {
        segment.name
        for block in program.workflow.blocks.values()
        for field in program.form(block.type)
        if field.secret and isinstance(block.values.get(field.id), str)
        for segment in split(block.values[field.id])
        if isinstance(segment, EnvName)
    }


class SecretsHere:
    """What this process knows of the secrets of runs: handed in, or from an environment.

    Nothing of it is stored. Another process finds the same by name in its own environment,
    or is handed it again.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._given: dict[str, dict[str, str]] = {}
        self._shared: dict[str, str] = {}
        self._env: dict[str, Mapping[str, str]] = {}

    def add(
        self,
        run_id: str,
        given: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Remember secrets of a run by name, and the environment it was started with.

        Only what stands in its document is kept for it alone: a worker starts any number of runs.
        """
        for name, value in (given or {}).items():
            if name.startswith(OWN):
                self._given.setdefault(run_id, {})[name] = value
            else:
                self._shared[name] = value
        if env is not None:
            self._env[run_id] = env

    def copy(self, run_id: str, to: str) -> None:
        """Let a run have what is known of another's."""
        self.add(to, self._given.get(run_id), self._env.get(run_id))

    def environment(self, run_id: str | None) -> Mapping[str, str]:
        """Return the environment a run has here."""
        return self._env.get(run_id or "") or self._app.environment()

    def finder(self, run_id: str | None) -> Callable[[str], str | None]:
        """Return how the secrets of a run are found here; without one, those that runs share."""
        given = self._shared if run_id is None else self._given.get(run_id, {})
        return finder(self._app, self.environment(run_id), given)

    def seal(self, run_id: str | None) -> Seal:
        """Return what puts the secrets of a run back in place, as far as they are known here."""
        return Seal({}, self.finder(run_id))

    def closing(self, run: Run) -> Seal:
        """Return the same, which also takes what is secret here out of what is new to a run."""
        names = run.options.get("secretNames", ())
        found = known(self._app, {}, self.environment(run.id), names)
        return Seal({**self._given.get(run.id, {}), **found}, self.finder(run.id))


def finder(
    app: App, env: Mapping[str, str], given: Mapping[str, str]
) -> Callable[[str], str | None]:
    """Return how a process that did not start a run finds a secret by its name.

    `given` holds what was handed in again: ``set:block.field`` -> value.
    """

    def find(name: str) -> str | None:
        if name in given:
            return given[name]
        kind, _, rest = name.partition(":")
        if kind == "env":
            return env.get(rest) or None
        connection, _, field = rest.rpartition(".")
        places = [connection] if kind == "app" else list(app.registry.connections)
        for place in places:
            if place in app.registry.connections:
                value = app.credentials_of(place).get(field)
                if value:
                    return value
        return None

    return find


def seal_of(app: App, env: Mapping[str, str]) -> Seal:
    """Return what takes the app's credentials, and variables with secret names, out of data."""
    return Seal(known(app, {}, env), finder(app, env, {}))


def document_of(workflow: Workflow) -> dict[str, Any]:
    """Return the document of a workflow with the values that were bound to it."""
    document = dict(workflow.document)
    stored: dict[str, Any] = dict(document["blocks"])
    for block in workflow.blocks.values():
        if block.id not in stored:
            continue
        sub_blocks = dict(stored[block.id].get("subBlocks") or {})
        for name, value in block.values.items():
            before = sub_blocks.get(name)
            if not isinstance(before, Mapping) or before.get("value") != value:
                known = before if isinstance(before, Mapping) else {}
                sub_blocks[name] = {"id": name, "type": "short-input", **known, "value": value}
        stored[block.id] = {**stored[block.id], "subBlocks": sub_blocks}
    return {**document, "blocks": stored}


def sealed_document(program: Program, seal: Seal, prefix: str = "") -> Any:
    """Return a program's document without a single secret, however short."""
    document = seal.close(document_of(program.workflow))
    for block_id, name in literal_secrets(program):
        field = document["blocks"][block_id]["subBlocks"][name]
        if not str(field["value"]).startswith(OPEN):  # too short to be found by its value
            field["value"] = marker(f"{OWN}{prefix}{block_id}.{name}")
    return document


def literal_secrets(program: Program) -> dict[tuple[str, str], str]:
    """Return (block id, field) -> value of the secrets that stand in a workflow, bound or not."""
    return {
        (block.id, field.id): block.values[field.id]
        for block in program.workflow.blocks.values()
        for field in program.form(block.type)
        if field.secret
        and isinstance(block.values.get(field.id), str)
        and all(isinstance(segment, str) for segment in split(block.values[field.id]))
        and block.values[field.id]
    }
