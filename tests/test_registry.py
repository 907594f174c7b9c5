"""What the registry lets in, whom it blames, and what it reports."""

import pytest

from sim_devin.errors import PluginError, UnknownName
from sim_devin.plugins import registry
from sim_devin.plugins.loading import Loaded
from sim_devin.specs.files import Specs
from sim_devin.specs.models import BlockSpec, Connection, ToolSpec

PARAMS = {"type": "object", "properties": {}, "additionalProperties": False}
OUTPUT = {"type": "object", "properties": {"status": {"type": "string"}}}


def tool(tool_id, *, connection="acme", path="/things", **more):
    request = {"method": "GET", "path": path}
    return ToolSpec(
        **{
            "id": tool_id,
            "title": tool_id,
            "description": "Gets things.",
            "connection": connection,
            "request": request,
            "params": PARAMS,
            "output": OUTPUT,
            **more,
        }
    )


def connection(name="acme"):
    field = {"title": "Team", "description": "The team.", "env": "TEAM"}
    return Connection(id=name, title=name, baseUrl="https://acme.example", fields={"team": field})


def block(block_type, **operations):
    return BlockSpec(type=block_type, title=block_type, operations=operations)


def plugin(name, *items, handlers=None, **more):
    kinds = {ToolSpec: [], BlockSpec: [], Connection: []}
    for item in items:
        kinds[type(item)].append(item)
    return Loaded(name, specs=Specs(*map(tuple, kinds.values())), handlers=handlers or {}, **more)


def build(*plugins):
    """Return a registry and all failures in it."""
    built = registry.build(plugins)
    return built, [failure for report in built.report for failure in report.failures]


def test_items_keep_their_order_and_know_their_owner():
    built, failures = build(
        plugin("one", connection(), tool("b"), tool("a"), block("one_block", get="c")),
        plugin("two", tool("c"), handlers={"api": print}),
    )
    assert failures == []
    assert list(built.tools) == ["b", "a", "c"]
    assert dict(built.owners) == {
        "connection:acme": "one",
        "tool:b": "one",
        "tool:a": "one",
        "tool:c": "two",
        "block:one_block": "one",
        "handler:api": "two",
    }


def test_a_block_and_a_tool_may_build_on_another_plugin_whatever_the_order():
    built, failures = build(
        plugin("late", tool("c"), block("late_block", get="b")),
        plugin("early", connection(), tool("b")),
    )
    assert failures == []
    assert built.plan("late_block", {}) == ("b", {})


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (tool("look", title="A"), tool("look", title="B"), "tool 'look'"),
        (block("acme_block", get="own"), block("acme_block", get="own"), "block 'acme_block'"),
    ],
)
def test_two_owners_of_one_id_are_both_named_and_the_first_stays(first, second, what):
    common = plugin("common", connection(), tool("own"))
    built, failures = build(
        common,
        plugin("one", first, distribution="acme-one", version="1.0"),
        plugin("two", second),
    )
    assert failures == [
        f"clash: {what} belongs to 'one' (acme-one 1.0); the one from 'two' is ignored. "
        "Rename it, or disable a plugin with SIM_DEVIN_DISABLE."
    ]
    taken = [*built.tools.values(), *built.blocks.values()]
    assert any(item is first for item in taken)
    assert not any(item is second for item in taken)
    assert [report.state for report in built.report] == ["ok", "ok", "broken"]
    assert built.report[2].to_json()["tools"] == built.report[2].to_json()["blocks"] == []


def test_one_id_twice_in_one_plugin_is_reported():
    _, failures = build(plugin("one", connection(), tool("a"), tool("a")))
    assert failures == ["clash: 'one' provides tool 'a' twice. Rename one."]


def test_nobody_runs_the_block_of_another():
    built, failures = build(
        plugin("one", connection(), tool("a"), block("one_block", get="a")),
        plugin("two", handlers={"one_block": print, "two_block": print}),
    )
    assert failures[0].startswith("clash: block 'one_block' belongs to 'one'; the one from 'two'")
    assert list(built.handlers) == ["two_block"]
    assert list(built.report[1].handlers) == ["two_block"]


@pytest.mark.parametrize(
    ("item", "failure"),
    [
        (tool("a", connection="acmee"), "connection: unknown connection 'acmee'. Did you mean"),
        (tool("a", connection=None), "connection: required with a request"),
        (tool("a", request=None), "request: a tool has either a request or a function to run"),
        (tool("a", run=print), "request: a tool has either a request or a function to run"),
        (tool("a", path="/{teem}"), "request.path: {teem} is neither a parameter nor a field of"),
        (
            tool("a", params={**PARAMS, "properties": {"team": {"type": "string"}}}),
            "params.properties.team: the connection 'acme' has a field of that name",
        ),
        (block("a", get="fin", put="own"), "operations.get: unknown tool 'fin'. Did you mean"),
    ],
)
def test_what_does_not_fit_the_rest_is_left_out_alone(item, failure):
    built, failures = build(plugin("one", connection(), tool("own"), tool("fine"), item))
    kind = "tool" if isinstance(item, ToolSpec) else "block"
    assert len(failures) == 1
    assert failures[0].startswith(f"spec: {kind} a: {failure}")
    assert list(built.tools) == ["own", "fine"]
    assert not built.blocks
    assert f"{kind}:a" not in built.owners


def test_what_builds_on_something_left_out_is_left_out_too():
    built, failures = build(
        plugin("one", connection("other"), tool("a"), block("one_block", get="a"))
    )
    assert (list(built.tools), list(built.blocks)) == ([], [])
    assert len(failures) == 2


def test_strict_mode_raises_and_names_both():
    both = [plugin("one", connection(), tool("a")), plugin("two", tool("a"))]
    with pytest.raises(PluginError, match="tool 'a' belongs to 'one'; the one from 'two'"):
        registry.build(both, strict=True)


def test_building_changes_nothing_of_what_it_is_given():
    given = [plugin("one", connection(), tool("a")), plugin("two", tool("a"))]
    first = registry.build(given)
    second = registry.build(given)
    assert first.report == second.report
    assert (given[1].state, given[1].failures, given[1].details) == ("ok", [], [])
    assert [spec.id for spec in given[1].specs.tools] == ["a"]


@pytest.mark.parametrize(("kind", "known"), [("tool", "acme_look"), ("block", "acme_block")])
def test_an_unknown_name_is_answered_with_the_nearest(kind, known):
    built, _ = build(
        plugin("one", connection(), tool("acme_look"), block("acme_block", get="acme_look"))
    )
    with pytest.raises(UnknownName, match=f"Did you mean '{known}'"):
        getattr(built, kind)(known[:-1])
    with pytest.raises(UnknownName, match="See sim-devin tools"):
        getattr(built, kind)("xyz")


def test_an_unknown_name_beside_a_broken_plugin_points_to_the_doctor():
    built, _ = build(plugin("one", tool("a")))
    with pytest.raises(UnknownName, match="see sim-devin plugins doctor"):
        built.tool("a")


def test_the_mappings_cannot_be_changed():
    built, _ = build(plugin("one", connection()))
    with pytest.raises(TypeError):
        built.connections["x"] = 1
