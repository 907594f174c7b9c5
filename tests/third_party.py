"""A third party's plugin whose tools have schemas of every kind, for the tests of agents."""

from sim_devin import Specs, hookimpl
from sim_devin.specs.models import ToolSpec, Traits

NODE = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
    },
    "required": ["label"],
}
AWKWARD = {
    "type": "object",
    "properties": {
        "kind": {"const": "report"},
        "level": {"type": "integer", "enum": [1, 2, 3], "default": 2},
        "size": {"oneOf": [{"type": "integer"}, {"type": "string", "format": "uri"}]},
        "mode": {"anyOf": [{"const": "fast"}, {"enum": ["slow", "never"]}, {"type": "null"}]},
        "ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "title": "Ratio"},
        "when": {"type": ["string", "null"], "format": "date-time", "examples": ["2026-01-01"]},
        "anything": {"description": "Whatever you like."},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
        "rows": {"type": "array", "items": {"anyOf": [{"type": "object"}, {"type": "string"}]}},
        "tree": {"$ref": "#/$defs/node"},
        "both": {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}},
                {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
            ]
        },
        "who": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "secret": {"type": "string", "x-visibility": "user-only"},
            },
            "required": ["name"],
        },
        "token": {"type": "string", "x-visibility": "user-only"},
    },
    "required": ["kind", "who"],
    "$defs": {"node": NODE},
}
OUTPUT = {"type": "object", "properties": {"got": {"type": "object"}}}


def _echo(params, context):
    return {"got": dict(params)}


def _break(params, context):
    raise ZeroDivisionError("with cog_a_secret_in_the_text")


class Plugin:
    """Brings the tools of a third party."""

    __name__ = "third-party"

    @hookimpl
    def sim_devin_specs(self):
        return Specs(
            tools=(
                ToolSpec(
                    id="acme_report",
                    title="Report",
                    description="Write a report.",
                    params=AWKWARD,
                    output=OUTPUT,
                    run=_echo,
                ),
                ToolSpec(
                    id="acme_break",
                    title="Break",
                    description="Fail.",
                    params={"type": "object", "properties": {}, "additionalProperties": False},
                    output=OUTPUT,
                    traits=Traits(readOnly=True),
                    run=_break,
                ),
            )
        )
