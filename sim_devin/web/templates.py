"""Workflows to start from: the examples, in the installed package or beside it."""

from __future__ import annotations

from pathlib import Path


def templates_folder() -> Path | None:
    """Return the folder of the examples, or None where they are not installed."""
    package = Path(__file__).parent.parent
    for folder in (package / "examples", package.parent / "examples"):
        if folder.is_dir():
            return folder
    return None
