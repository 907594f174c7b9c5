"""Named secrets of this machine, for ``{{NAME}}`` in workflows. Written here, never read out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from sim_devin.errors import CallerError
from sim_devin.specs.json_input import read_json
from sim_devin.store.whole_file import PRIVATE, write_whole

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class SecretStore:
    """Secrets by name, in a file that only its owner can read; without a path in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = Lock()
        self._values = self._load()

    def __repr__(self) -> str:
        return f"SecretStore({len(self._values)} secrets)"

    @property
    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted(self._values)

    def values(self) -> Mapping[str, str]:
        """Return name -> value, for a run's environment and for masking."""
        with self._lock:
            return dict(self._values)

    def put(self, name: str, value: str) -> None:
        """Keep a secret, replacing an older one.

        Raises:
            CallerError: the name or the value cannot be used.
        """
        if not _NAME.fullmatch(name):
            raise CallerError(
                f"Invalid secret name {name[:60]!r}.",
                hint="Use letters, digits and _, such as DEVIN_API_KEY.",
            )
        if not value.strip():
            raise CallerError("A secret cannot be empty.")
        with self._lock:
            self._values[name] = value.strip()
            self._save()

    def delete(self, name: str) -> None:
        """Forget a secret."""
        with self._lock:
            if self._values.pop(name, None) is not None:
                self._save()

    def _load(self) -> dict[str, str]:
        if self._path is None or not self._path.is_file():
            return {}
        try:
            stored = read_json(self._path.read_bytes(), f"The secrets file {self._path}")
        except OSError as error:
            raise CallerError(f"{self._path} cannot be read: {error.strerror}.") from None
        if not isinstance(stored, dict):
            raise CallerError(f"The secrets file {self._path} is not a JSON object.")
        return {str(name): str(value) for name, value in stored.items()}

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(self._values).encode(), mode=PRIVATE)
        except OSError as error:
            raise CallerError(f"{self._path} cannot be written: {error.strerror}.") from None
