"""The built page: where it is, and what is said where it was not built."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

FOLDER = Path(__file__).parent / "page"
NOT_BUILT = (
    "The page of the canvas was not built into this installation. In a checkout: make canvas "
    "(needs node 20.19 or newer), or cd web && npm ci && npm run build."
)


def is_built(folder: Path = FOLDER) -> bool:
    """Return whether there is a page to serve."""
    return (folder / "index.html").is_file()


class Page:
    """Serves the page's files; names outside its folder are not found."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder.resolve()

    async def serve(self, request: Request) -> Response:
        """Return a file of the page."""
        if not is_built(self._folder):
            return PlainTextResponse(NOT_BUILT + "\n", 503)
        path = request.path_params.get("path") or "index.html"
        try:
            file = (self._folder / path).resolve()
            if not file.is_relative_to(self._folder) or not file.is_file():
                return PlainTextResponse("Not found.\n", 404)
        except (OSError, ValueError):  # too long for a name, or with a zero byte in it
            return PlainTextResponse("Not found.\n", 404)
        # Assets carry a hash of their content in their name; the page itself does not.
        lasting = path.startswith("assets/")
        cache = "public, max-age=31536000, immutable" if lasting else "no-cache"
        return FileResponse(file, headers={"Cache-Control": cache})
