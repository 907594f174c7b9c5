"""Which execution of which block something is about.

A block of the document runs once for each pass of the loops and branches of the parallels
around it, and a block of a child workflow once for each time its parent calls it. Each of these
executions asks, waits and ends by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from sim_devin.web.run_view import original_id


@dataclass(frozen=True)
class ExecutionView:
    """One execution of a block.

    Attributes:
        levels: for the run itself and each child run inside it: the passes around the block
            (container, number from 0), and the block.
    """

    levels: tuple[tuple[tuple[tuple[str, int], ...], str], ...]

    @property
    def key(self) -> str:
        """What tells it from all others of its run."""
        return ">".join(
            "".join(f"{_quoted(container)}.{number}/" for container, number in passes)
            + _quoted(block)
            for passes, block in self.levels
        )

    @property
    def is_of_child(self) -> bool:
        """Whether the block is one of a child workflow."""
        return len(self.levels) > 1

    def to_json(self) -> dict[str, Any]:
        """Return it as data of an event.

        ``block`` is the block of the run's own document, ``passes`` are those around it, from
        1; ``child`` says that it stands for one inside it.
        """
        passes, block = self.levels[0]
        around = [{"block": container, "pass": number + 1} for container, number in passes]
        return {
            "execution": self.key,
            "block": block,
            **({"passes": around} if around else {}),
            **({"child": True} if self.is_of_child else {}),
        }


def of_key(key: str) -> ExecutionView:
    """Return the execution that a key of the store stands for, with or without its try."""
    levels = []
    for level in key.split(">"):
        *around, block = level.partition("#")[0].split("/")
        passes = []
        for item in around:
            container, _, number = item.rpartition(".")
            passes.append((original_id(unquote(container)), int(number)))
        levels.append((tuple(passes), original_id(unquote(block))))
    return ExecutionView(tuple(levels))


def of_log(log: Mapping[str, Any]) -> ExecutionView:
    """Return the execution that a log entry of the run itself is about."""
    passes = [
        (original_id(item["iterationContainerId"]), item["iterationCurrent"])
        for item in log.get("parentIterations") or ()
    ]
    container = log.get("loopId") or log.get("parallelId")
    if container and log.get("iterationIndex") is not None:
        passes.append((original_id(container), log["iterationIndex"]))
    return ExecutionView(((tuple(passes), original_id(log["blockId"])),))


def _quoted(text: str) -> str:
    return quote(text, safe="-_")
