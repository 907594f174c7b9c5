"""Which values of a durable run are secret, by name, and how another process finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from sim_devin.engine.program import Program
from sim_devin.engine.secret_fields import (
    literal_secrets,
    literal_texts,
    named_secrets,
    named_texts,
    secret_names,
)
from sim_devin.engine.workflow import Workflow
from sim_devin.store.sealing import OWN, Hidden, Seal, Secret
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import MODEL_KEY, Toolbox

REMEMBERED = 10_000  # runs whose names are remembered


def known_of(programs: Mapping[str, Program], env: Mapping[str, str]) -> dict[str, str]:
    """Return name -> value of what is secret in these programs (by prefix).

    Variables that stand in secret places, and secrets that stand in the documents: in secret
    fields, and elsewhere under a name that says so.
    """
    found = {}
    for prefix, program in programs.items():
        for name in sorted(secret_names(program)):
            if env.get(name):
                found[f"env:{name}"] = env[name]
        for (block_id, name), value in named_secrets(program).items():
            found |= _own(f"{prefix}{block_id}.{name}", named_texts(value))
        for (block_id, name), value in literal_secrets(program).items():
            found |= _own(f"{prefix}{block_id}.{name}", literal_texts(value))
    return found


def own_secrets(field: str, value: Any) -> dict[str, str]:
    """Return by name what may be a secret in a field (``block id.field``) of a document.

    Of a secret field that is its text, and the texts in it if it is a list of session secrets; of
    any other what stands in it under a name that says so.
    """
    return (
        {f"{OWN}{field}": value}
        | _own(field, named_texts(value))
        | _own(field, literal_texts(value))
    )


def typed_secrets(bindings: Mapping[str, Any]) -> dict[str, str]:
    """Return by name what may be secrets in bindings, ``"block id.field"`` -> value."""
    found: dict[str, Any] = {}
    for field, value in bindings.items():
        found |= own_secrets(field, value)
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _own(field: str, texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {f"{OWN}{field}{place}": text for place, text in texts}


class SecretsHere:
    """What this process knows of the secrets of runs: passed in, or from an environment.

    Nothing of it is stored but the names. Another process finds the same by name in its own
    environment, or is handed it again.

    Args:
        app: has an environment and credentials.
        store: where the names are that belong to a run.
    """

    def __init__(self, app: Toolbox, store: SqlStore) -> None:
        self._app = app
        self._store = store
        self._given: dict[str, dict[str, str]] = {}
        self._shared: dict[str, str] = {}
        self._env: dict[str, Mapping[str, str]] = {}
        self._recorded: dict[str, set[str]] = {}

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

    def add_again(
        self, run_id: str, bindings: Mapping[str, Any], env: Mapping[str, str] | None
    ) -> None:
        """Remember the secrets of a run's document, ``"block id.field"`` -> value."""
        given = typed_secrets(bindings)
        recorded = self._store.secrets_of(run_id)
        self.add(run_id, {name: given[name] for name in recorded if name in given}, env)

    def copy(self, run_id: str, to: str) -> None:
        """Let a run have what is known of another's."""
        self.add(to, self._given.get(run_id), self._env.get(run_id))

    def learn(self, run_id: str, programs: Mapping[str, Program]) -> None:
        """Let what is secret in the programs (by prefix) of a run belong to it."""
        found = known_of(programs, self.environment(run_id))
        self.add(run_id, found)
        if not self._names(run_id).issuperset(found):
            with self._store.database.write() as connection:
                self._store.record_secrets(connection, run_id, found)
            self._recorded.pop(run_id, None)

    def environment(self, run_id: str) -> Mapping[str, str]:
        """Return the environment a run has here."""
        env = self._env.get(run_id)
        return self._app.environment() if env is None else env

    def forget(self, run_id: str) -> None:
        """Forget what is known of one run."""
        for known in (self._given, self._env, self._recorded):
            known.pop(run_id, None)

    def seal(self, run_id: str) -> Seal:
        """Return what takes the secrets known here out of a run's data, and puts the run's back."""
        env = {**self._app.environment(), **self.environment(run_id)}
        given = self._given.get(run_id, {})
        return Seal(
            {**self._app.secrets(env, self._names(run_id)), **given},
            finder(self._app, env, given if run_id in self._env else {**self._shared, **given}),
            partial(self._is_recorded, run_id),
        )

    def _names(self, run_id: str) -> set[str]:
        names = self._recorded.get(run_id)
        if names is None:
            if len(self._recorded) >= REMEMBERED:
                self._recorded.clear()
            names = self._recorded[run_id] = set(self._store.secrets_of(run_id))
        return names

    def _is_recorded(self, run_id: str, name: str) -> bool:
        if name not in self._names(run_id):
            self._recorded.pop(run_id, None)  # another process may have recorded it meanwhile
        return name in self._names(run_id)


def finder(
    app: Toolbox, env: Mapping[str, str], given: Mapping[str, str]
) -> Callable[[str], str | None]:
    """Return how a process that did not start a run finds a secret by its name.

    `given` holds what was passed in again: ``set:block.field`` -> value.
    """

    def find(name: str) -> str | None:
        if name in given:
            return given[name]
        kind, _, rest = name.partition(":")
        if kind == "env":
            return env.get(rest) or None
        if name == MODEL_KEY:
            return app.settings.model_api_key or None
        connection, _, field = rest.rpartition(".")
        places = [connection] if kind == "app" else list(app.registry.connections)
        for place in places:
            if place in app.registry.connections:
                value = app.credentials_of(place).get(field)
                if value:
                    return value
        return None

    return find


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
    for (block_id, name), value in named_secrets(program).items():
        document["blocks"][block_id]["subBlocks"][name]["value"] = seal.close_credentials(value)
    for (block_id, name), value in literal_secrets(program).items():
        field = document["blocks"][block_id]["subBlocks"][name]
        closed = seal.close_credentials(value)
        field["value"] = _hidden(value, closed, f"{OWN}{prefix}{block_id}.{name}")
    return document


def _hidden(value: Any, closed: Any, name: str) -> Any:
    """Return the value of a secret field with its own texts hidden, also too short ones."""
    if isinstance(value, list):
        return [_hidden(item, closed[n], f"{name}/{n}") for n, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            key: closed[key] if key == "key" else _hidden(item, closed[key], f"{name}/{key}")
            for key, item in value.items()
        }
    if not isinstance(value, str) or isinstance(closed, Hidden):
        return closed
    return Hidden([Secret(name)]) if dict(literal_texts(value)).get("") else closed
