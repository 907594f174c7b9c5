"""Measure two ways of doing the same thing in one run, in interleaved rounds.

The machines these run on are shared and noisy, so a benchmark prints ratios against a
baseline measured in the same rounds, never a time that stands alone.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping


def interleave(
    ways: Mapping[str, Callable[[], object]], *, rounds: int = 21, loops: int = 50
) -> dict[str, float]:
    """Return name -> median seconds of one call, over `rounds` rounds of `loops` calls each."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # the first call pays for connections and imports
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            names = list(ways)
            # Rotate the order, so that no way always follows the same neighbour.
            for name in names[number % len(names) :] + names[: number % len(names)]:
                way = ways[name]
                started = time.perf_counter()
                for _ in range(loops):
                    way()
                taken[name].append((time.perf_counter() - started) / loops)
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in taken.items()}


def report(title: str, medians: Mapping[str, float], baseline: str, goal: str = "") -> None:
    """Print each way as a ratio to the baseline."""
    print(f"\n{title}" + (f"  (goal: {goal})" if goal else ""))
    for name, seconds in medians.items():
        ratio = seconds / medians[baseline]
        mark = "baseline" if name == baseline else f"{ratio:5.2f} x"
        print(f"  {name:<44} {mark:>10}   {1 / seconds:>12,.0f}/s")
