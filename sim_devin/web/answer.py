"""JSON answers that every browser can read."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

from sim_devin.web.json_text import HALF


class ApiResponse(JSONResponse):
    """JSON data; halves of characters are escapes, and numbers that JSON has none of are null."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        try:
            text = _compact(content)
        except ValueError:  # NaN or an infinity
            text = _compact(json.loads(json.dumps(content), parse_constant=lambda _: None))
        return HALF.sub(lambda found: f"\\u{ord(found.group()):04x}", text).encode()


def _compact(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
