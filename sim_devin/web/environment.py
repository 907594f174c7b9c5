"""The environment of the canvas: what its process has, and the secrets kept for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping


class Environment(Mapping[str, str]):
    """An environment with the local secrets over it, as they are at the moment."""

    def __init__(self, env: Mapping[str, str], secrets: Callable[[], Mapping[str, str]]) -> None:
        self._env = env
        self._secrets = secrets

    def __getitem__(self, name: str) -> str:
        secrets = self._secrets()
        return secrets[name] if name in secrets else self._env[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._env, **self._secrets()})

    def __len__(self) -> int:
        return len({**self._env, **self._secrets()})
