"""What JavaScript in a workflow uses that Sim gives to code and we do not, or the other way."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sim_devin.engine.javascript_text import Scanner

_NOT_HERE = ("fetch",)
_NOWHERE = (
    *("Buffer", "TextDecoder", "TextEncoder", "URL", "URLSearchParams", "XMLHttpRequest"),
    *("clearTimeout", "crypto", "process", "require", "setInterval", "setTimeout"),
    "structuredClone",
)
_NOT_IN_SIM = ("atob", "btoa", "performance", "queueMicrotask")
_USED = re.compile(
    rf"(?<![\w$.])(?:new\s+)?({'|'.join((*_NOT_HERE, *_NOWHERE, *_NOT_IN_SIM))})\s*[.(]"
    r"|(?<![\w$.])Intl\.(DurationFormat)\b"
)
_WHY = {
    **dict.fromkeys(_NOT_HERE, "is not given to code here, as it is in Sim: use an API block"),
    **dict.fromkeys(_NOWHERE, "is not given to code, neither here nor in Sim's sandbox"),
    **dict.fromkeys(_NOT_IN_SIM, "is given to code here, and not in Sim's sandbox"),
    "DurationFormat": "is not there, neither here nor in Sim's Intl",
}


def differences(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, what) of names that code uses and does not have here, or not in Sim.

    A name that the code makes itself, or asks for with ``typeof``, is none.
    """
    told = set()
    for match in _USED.finditer(source):
        name = match[1] or match[2]
        own = re.search(
            rf"\b(?:function|const|let|var|class|typeof)\s+{name}\b|[(,]\s*{name}\s*[,)=]", source
        )
        if name in told or own:
            continue
        scanner = Scanner()
        scanner.feed(source[: match.start()])
        if scanner.place == "code":
            told.add(name)
            yield source.count("\n", 0, match.start()) + 1, f"{name} {_WHY[name]}"
