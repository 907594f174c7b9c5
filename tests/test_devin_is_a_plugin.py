"""Devin is a plugin like any other: nothing else knows its tools, fields and states by name."""

import ast
import json
import re
from pathlib import Path

import pytest

import sim_devin
from sim_devin.specs.files import builtin_folder
from sim_devin.specs.jobs import JobFields

PACKAGE = Path(sim_devin.__file__).parent
DEVINS = ("devin/", "simulator/", "client.py", "simulated.py")  # what is about Devin

JOB = json.loads((builtin_folder() / "devin.job.json").read_text(encoding="utf-8"))
TOOLS = re.compile(r"(?<![\w-])(?:devin_[a-z_]+|devin://|devin-)")
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|ALTER)\b")
# Names that only Devin's answers and parameters have; "id", "title" and the like are anybody's.
ANYBODYS = ("title", "url", "status", "createdAt", "updatedAt")
FIELDS = {name for name in JOB["fields"].values() if name not in ANYBODYS}
FIELDS |= {"pr_url", "pr_state", "maxAcuLimit", "structuredOutputSchema", "sessionIds", "eventId"}
STATES = {value for values in JOB["states"].values() for value in values}
STATES -= {"finished", "suspended", "error", "exit"}  # words of runs and loops, too

# What stays, and why.
ALLOWED = {
    # Names that stores, callers or pages know, for jobs of any kind.
    ("calls/ceilings.py", "maxAcuLimit"): "the account's name for what bounds a cost, in stores",
    ("calls/jobs/wait.py", "sessionId"): "key of the progress and outcome of any wait",
    ("calls/jobs/wait.py", "acusConsumed"): "key of the progress of any wait",
    ("engine/tool_block.py", "sessionId"): "kept of a block that fails by its schema",
    ("engine/tool_block.py", "structuredOutput"): "output of any block that has a schema",
    ("engine/tool_block.py", "structuredOutputSchema"): "field of any block that has a schema",
    ("runs/events", "sessionId"): "key of events, questions and waits of any kind of job",
    ("web/page", "sessionId"): "the page's name for the id of any job",
    ("web/page", "acusConsumed"): "the page's name for the cost of any job",
    ("web/page", "pullRequests"): "the page's name for what any job made elsewhere",
    ("web/page", "pr_url"): "the page's name for an address of that",
    ("web/page", "structuredOutput"): "the page's name for the result of any job",
    # Old stores.
    ("store/schema.py", "devin_create_session"): "a migration of stores with one kind of job",
    ("store/schema.py", "devin_session"): "a migration of stores with one kind of job",
    # A command that is about Devin alone, as its name says.
    ("cli/commands/do.py", "maxAcuLimit"): "sim-devin do is about Devin",
    ("cli/commands/do.py", "structuredOutputSchema"): "sim-devin do is about Devin",
}
GROUPS = {
    "runs/events": (
        *("cli/commands/run_view.py", "cli/commands/run_pauses.py", "mcp/asking.py"),
        *("runs/answers.py", "runs/blocks.py", "runs/calls.py", "runs/overtime.py"),
        *("runs/poller.py", "runs/session_wait.py", "runs/why.py", "store/records.py"),
        "store/step_ledger.py",
    ),
    "web/page": ("web/run_view.py", "web/sessions.py", "web/history.py"),
}


def texts(path):
    """Yield the texts in a module's code that are no documentation, examples or sentences."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(DEVINS):
            yield pytest.param(path, name, id=name)


def found(path):
    for text in texts(path):
        if text in FIELDS | STATES:
            yield text
        elif " " not in text or SQL.search(text):
            yield from TOOLS.findall(text)


def allowed(name):
    groups = {name, *(group for group, members in GROUPS.items() if name in members)}
    return {word for place, word in ALLOWED if place in groups}


@pytest.mark.parametrize(("path", "name"), list(modules()))
def test_no_module_knows_devin_by_name(path, name):
    assert set(found(path)) - allowed(name) == set()


@pytest.mark.parametrize(("path", "name"), list(modules()))
def test_no_module_imports_the_devin_plugin(path, name):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    wired = {"app.py": {"sim_devin.devin"}, "cli/commands/do.py": {"sim_devin.devin.task"}}
    ours = {module for module in imported if re.match(r"sim_devin\.devin\b", module)}
    assert ours <= wired.get(name, set())


def test_what_is_allowed_is_needed():
    used = {
        (place, word)
        for path, name in (case.values for case in modules())
        for word in found(path)
        for place in (name, *(group for group, members in GROUPS.items() if name in members))
    }
    assert [entry for entry in ALLOWED if entry not in used] == []


def test_the_kind_of_job_names_every_field_that_the_rest_reads():
    assert set(JOB["fields"]) <= {
        field.alias or key for key, field in JobFields.model_fields.items()
    }
