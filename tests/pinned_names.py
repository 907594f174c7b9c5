"""Every name that a store keeps or that others rely on, collected from the code itself.

``python -m tests.pinned_names`` writes them to ``tests/golden/persisted_names.json``, with which
tests/durable/test_persisted_names.py compares them.
"""

import ast
import asyncio
import inspect
import json
import re
import sqlite3
import tempfile
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import get_args
from unittest import mock

import click

import sim_devin
from sim_devin import Policy, errors, settings
from sim_devin.cli.main import COMMANDS, EXIT_CODES, cli
from sim_devin.engine.run import RunResult
from sim_devin.plugins import hooks as plugin_hooks
from sim_devin.runs.reminders import read_reminders
from sim_devin.service.hooks import read_hooks
from sim_devin.service.schedules import read_schedules
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator
from sim_devin.specs import models
from sim_devin.store import records, sealing
from sim_devin.store.schema import MIGRATIONS
from sim_devin.store.sql_store import open_store
from tests.durable.flows import block, devin, flow, loop, wait

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden" / "persisted_names.json"
ENV = {"DEVIN_API_KEY": "cog_test_key_000000"}


# -- what stands in the source ---------------------------------------------------------------


def _literals():
    """Yield every text of the source that is no docstring."""
    for path in sorted((ROOT / "sim_devin").rglob("*.py")):
        if path.is_relative_to(ROOT / "sim_devin" / "simulator"):
            continue  # its names are those of another service
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _matching(pattern):
    return sorted({text for text in _literals() if re.fullmatch(pattern, text)})


def events():
    return _matching(r"(run|block|call|session|mcp)\.[a-z]+")


def telemetry():
    """Return the attributes of spans and the metrics of a worker."""
    spans = _matching(r"sim_devin\.(run|block|workflow|tool)\.[a-z]+|sim_devin\.outcome")
    return {"spans": spans, "metrics": _matching(r"sim_devin_(runs|drives|calls|uptime_[a-z]+)")}


# -- the store -------------------------------------------------------------------------------


def _columns(connection):
    found = set()
    for kind, name in connection.execute("SELECT type, name FROM sqlite_master").fetchall():
        if name.startswith("sqlite_"):
            continue
        if kind == "index":
            found.add(f"index {name}")
        else:
            found |= {
                f"{name}.{column[1]}" for column in connection.execute(f"PRAGMA table_info({name})")
            }
    return found


def store_versions():
    """Return version -> what it adds and takes away, as tables, columns and indexes."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    versions, before = {}, set()
    for number, migration in enumerate(MIGRATIONS, 1):
        if callable(migration):
            migration(connection)
        else:
            connection.executescript(migration)
        now = _columns(connection)
        versions[str(number)] = [f"+ {name}" for name in sorted(now - before)]
        versions[str(number)] += [f"- {name}" for name in sorted(before - now)]
        before = now
    return versions


def open_app(**options):
    """Return an app over a store in memory and a simulated Devin whose time stands still."""
    clock = SimClock(speed=0)
    transport = SimulatedTransport(clock, Simulator(clock=clock, seed=1))
    options.setdefault("store", open_store())
    return sim_devin.open_app(
        env=ENV,
        transport=transport,
        clock=clock,
        discover=False,
        credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
        **options,
    )


FORM = block("form", "human_in_the_loop", inputFormat=[{"id": "1", "name": "x", "type": "string"}])


def recorded():
    """Return what runs of several kinds leave in the store: column -> keys of its JSON, or names.

    The runs wait for a session, a question, a moment, a form and an approval; one of them has not
    ended.
    """
    app = open_app()
    inside = devin("create", "create_session", prompt="Fix it", maxAcuLimit="3")
    document = flow(
        loop("rounds", 1, inside),
        inside,
        devin("asks", "create_session", prompt="[scenario: asks]"),
        wait(id="wait now", of="asks", onQuestion="hold"),
        block("nap", "wait", timeValue="4", timeUnit="minutes"),
        FORM,
        edges=[
            ("start", "rounds"),
            ("rounds", "create", "loop-start-source"),
            ("rounds", "asks", "loop-end-source"),
            ("asks", "wait now"),
            ("wait now", "nap"),
            ("nap", "form"),
        ],
    )
    run_id = app.runs.start(document, env=ENV, run_id="run-1", max_acu=50)
    app.runs.follow(run_id)
    app.runs.answer(run_id, "go on")
    app.runs.work(once=True)
    app.runs.follow(run_id)
    app.runs.answer(run_id, {"x": "yes"})
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done", app.runs.show(run_id)["error"]
    asked = open_app(store=app.runs.store, policy=Policy(confirm=("costs-money",)))
    second = asked.runs.start(flow(inside), env=ENV, run_id="run-2")
    asked.runs.follow(second)
    asked.runs.answer(second, {"approved": True})
    asked.runs.follow(second)
    app.runs.follow(app.runs.start(flow(FORM), env=ENV, run_id="run-3"))
    return _kept(app.runs.store.database)


# Columns in which the text itself is a name, and those that hold what only the workflow knows.
NAMES = {
    *("blocks.key", "intents.step", "intents.tag", "intents.tool", "sessions.step"),
    *("spend.ceiling", "spend.step", "steps.name", "steps.step", "waits.step", "waits.then"),
}
CONTENT = {"documents.body", "blocks.output", "runs.inputs", "blocks.variables"}


def _kept(database):
    found = {}
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    for table in [row["name"] for row in database.read(query)]:
        for row in map(dict, database.read(f"SELECT * FROM {table}")):
            for column, value in row.items():
                name = f"{table}.{column}"
                if name in CONTENT or not isinstance(value, str):
                    continue
                names = {value} if name in NAMES else _keys(value)
                if names and "kind" in row and name not in NAMES:
                    name += f" of {row['kind']}"
                found.setdefault(name, set()).update(names)
    return {name: sorted(names) for name, names in sorted(found.items()) if names}


def _keys(text):
    try:
        value = json.loads(text)
    except ValueError:
        return ()
    return value if isinstance(value, dict) else ()


def results():
    """Return the keys of what a run gives back, of its snapshot and of what shows runs."""
    app = open_app()
    failing = block("fail", "function", code="return missing.value")
    paused = app.run(flow(FORM))
    failed = app.run(flow(failing))
    run_id = app.runs.start(flow(FORM), env=ENV)
    app.runs.follow(run_id)
    (pause,) = paused.snapshot["pauses"]
    return {
        "RunResult": [item.name for item in fields(RunResult)],
        "result": sorted({*paused.to_json(), *failed.to_json()}),
        "log": sorted({key for log in failed.to_json()["logs"] for key in log}),
        "pause point": sorted(paused.to_json()["pausePoints"][0]),
        "snapshot": sorted(paused.snapshot),
        "snapshot pause": sorted(pause),
        "snapshot scope": sorted(paused.snapshot["scope"]),
        "run shown": sorted(app.runs.show(run_id)),
        "run listed": sorted(app.runs.list()[0]),
        "wait shown": sorted(app.runs.show(run_id)["waits"][0]),
    }


def sealed_form():
    hidden = sealing.Hidden(["Bearer ", sealing.Secret("env:TOKEN", "json", "ab")])
    return {
        "text": sealing.to_json(hidden),
        "column": sealing.to_text(hidden),
        "object": sealing.to_json({sealing.KEY: 1}),
        "mark": sealing.mark_of("env:TOKEN", "made-up"),
    }


# -- the config file and the environment -----------------------------------------------------


class Asked(dict):
    """A mapping that knows which keys it was asked for."""

    def __init__(self, values=()):
        super().__init__(values)
        self.names = set()

    def get(self, key, default=None):
        self.names.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.names.add(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        self.names.add(key)
        return super().__contains__(key)


def config():
    """Return the sections of the config file, their keys, and the environment's variables."""
    env, table = Asked(), Asked()
    document = Asked({"settings": table})
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(tomllib, "loads", return_value=document),
    ):
        file = Path(folder, "config.toml")
        file.touch(0o600)
        settings.load_settings(env, file)
        settings.config_path(Asked({"SIM_DEVIN_CONFIG": str(file)}))
        secret = {"secret": "made-up-secret-of-32-characters-x"}
        hook = Asked({"workflow": str(file), **secret})
        schedule = Asked({"workflow": str(file), "cron": "0 9 * * *"})
        reminders = Asked({"every": "1h", "url": "https://hooks.example/x", **secret})
        read_hooks({"name": hook}, {})
        read_schedules({"name": schedule})
        read_reminders(reminders, {})
    variables = _matching(r"(SIM_)?DEVIN_[A-Z_]*[A-Z]|[A-Z]+_(API_KEY|BASE_URL)")
    declared = {
        variable
        for connection in open_app().registry.connections.values()
        for variable in (connection.base_url_env, *(f.env for f in connection.fields.values()))
    }
    return {
        "sections": sorted(document.names),
        "settings": sorted(table.names),
        "hooks": sorted(hook.names),
        "schedules": sorted(schedule.names),
        "reminders": sorted(reminders.names),
        "policy": sorted(item.name for item in fields(Policy)),
        "environment": sorted({*variables, *env.names, *declared} - {""}),
    }


# -- the surfaces ----------------------------------------------------------------------------


def commands():
    """Return command -> its arguments and options, in every spelling."""

    def walk(command, name):
        yield (
            name,
            sorted(
                option
                for param in command.params
                for option in (
                    (*param.opts, *param.secondary_opts)
                    if isinstance(param, click.Option)
                    else (param.name.upper(),)
                )
            ),
        )
        for child in getattr(command, "commands", None) or ():
            yield from walk(command.commands[child], f"{name} {child}")

    found = {}
    for name in COMMANDS:
        found |= walk(cli.get_command(None, name), name)
    return found


def exit_codes():
    kinds = {
        name: kind.exit_code
        for name, kind in sorted(vars(errors).items())
        if inspect.isclass(kind) and issubclass(kind, errors.SimDevinError)
    }
    return {"codes": [code for code, _ in EXIT_CODES], "errors": kinds}


def mcp():
    from mcp import Client

    from sim_devin.mcp.server import build

    async def ask(path):
        server = build(open_app(), workflows=[path])
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            prompts = (await client.list_prompts()).prompts
            templates = (await client.list_resource_templates()).resource_templates
        return {
            "tools": {tool.name: sorted(tool.input_schema["properties"]) for tool in tools},
            "prompts": sorted(prompt.name for prompt in prompts),
            "resources": sorted(template.uri_template for template in templates),
        }

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "my_flow.json")
        path.write_text(json.dumps({"version": "1.0", "state": flow(FORM)}))
        return asyncio.run(ask(path))


def specs():
    """Return the keywords of spec files, the traits among them, and ``x-`` keywords."""
    kinds = {
        name: sorted(
            field.alias or key for key, field in kind.model_fields.items() if not field.exclude
        )
        for name, kind in vars(models).items()
        if inspect.isclass(kind)
        and issubclass(kind, models.SpecModel)
        and kind is not models.SpecModel
    }
    return {**kinds, "schema": _matching(r"x-(from|visibility|advanced|[a-z]+-input)")}


def registry():
    """Return the built-in tools, blocks and connections: id -> their parameters and fields."""
    found = open_app().registry
    return {
        "tools": {
            name: sorted([*spec.properties, *(f"-> {key}" for key in _outputs(spec))])
            for name, spec in sorted(found.tools.items())
        },
        "blocks": {
            name: sorted([*(f.id for f in spec.fields), *(f"-> {key}" for key in spec.outputs)])
            for name, spec in sorted(found.blocks.items())
        },
        "connections": {
            name: sorted(spec.fields) for name, spec in sorted(found.connections.items())
        },
    }


def _outputs(spec):
    return spec.answer.get("properties", {})


def states():
    from sim_devin.calls import intents

    return {
        "runs": list(get_args(records.RunState)),
        "waits": list(get_args(records.WaitKind)),
        "intents": list(get_args(intents.State)),
        "ambiguous": list(get_args(intents.Policy)),
    }


def plugins():
    return {
        "entry points": plugin_hooks.ENTRY_POINTS,
        "project": plugin_hooks.PROJECT,
        "hooks": {
            name: sorted(inspect.signature(hook).parameters)
            for name, hook in sorted(vars(plugin_hooks).items())
            if name.startswith("sim_devin_")
        },
    }


def python():
    """Return the parameters of what programs call, and every import that the docs show."""
    app = open_app()
    called = {"open_app": sim_devin.open_app, "Devin": sim_devin.Devin}
    for name, kind in (
        ("App", sim_devin.App),
        ("Runs", type(app.runs)),
        ("Devin", sim_devin.Devin),
    ):
        called |= {
            f"{name}.{key}": value
            for key, value in inspect.getmembers(kind, inspect.isfunction)
            if not key.startswith("_")
        }
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.py")]
    shown = re.compile(r"^\s*from (sim_devin[\w.]*) import (.+)$", re.MULTILINE)
    return {
        "names": sorted(sim_devin.__all__),
        "parameters": {
            name: [key for key in inspect.signature(value).parameters if key != "self"]
            for name, value in sorted(called.items())
        },
        "imports in the docs": sorted(
            {
                f"{module}.{name.strip()}"
                for page in pages
                for module, names in shown.findall(page.read_text(encoding="utf-8"))
                for name in names.strip("()").split(",")
                if name.strip()
            }
        ),
    }


SECTIONS = {
    "command line": commands,
    "config": config,
    "events": events,
    "exit codes": exit_codes,
    "MCP": mcp,
    "plugins": plugins,
    "python": python,
    "recorded": recorded,
    "registry": registry,
    "results": results,
    "sealed": sealed_form,
    "specs": specs,
    "states": states,
    "store": store_versions,
    "telemetry": telemetry,
}


def main():
    found = {name: collect() for name, collect in SECTIONS.items()}
    GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
