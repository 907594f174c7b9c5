"""What the page can build with: the registry's blocks, their forms, outputs and owners."""

from __future__ import annotations

from typing import Any

from sim_devin.plugins.registry import Registry


def catalog(registry: Registry) -> list[dict[str, Any]]:
    """Return every block as JSON data, in the registry's order."""
    return [_block(registry, block_type) for block_type in registry.blocks]


def _block(registry: Registry, block_type: str) -> dict[str, Any]:
    block = registry.blocks[block_type]
    operations = list(block.operations) or [""]
    return {
        "type": block.type,
        "title": block.title,
        "description": block.description,
        "category": block.category,
        "color": block.color,
        "icon": block.icon,
        "docs": block.docs,
        "owner": registry.owners.get(f"block:{block_type}", ""),
        "operationField": block.operation_field if len(block.operations) > 1 else None,
        "operations": list(block.operations),
        "descriptions": {
            operation: registry.tools[tool].description
            for operation, tool in block.operations.items()
            if tool in registry.tools
        },
        "costsMoney": [
            operation
            for operation, tool in block.operations.items()
            if tool in registry.tools and registry.tools[tool].traits.costs_money
        ],
        "fields": [item.to_json() for item in registry.form(block_type)],
        "outputs": {
            operation: {
                name: {
                    "type": schema.get("type", "any"),
                    "description": schema.get("description", ""),
                }
                for name, schema in registry.outputs(block_type, operation or None).items()
            }
            for operation in operations
        },
        "credentials": {
            name: field.env
            for tool in block.operations.values()
            if tool in registry.tools
            for connection in [registry.connections.get(registry.tools[tool].connection or "")]
            if connection is not None
            for name, field in connection.fields.items()
        },
        "runnable": block_type in registry.handlers or bool(block.operations),
    }
