"""A made-up service whose jobs are films, as a transport: other names, states and times than Devin.

The spec files beside this module are all that the package under test knows of it.
"""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sim_devin.calls.response import Response
from sim_devin.errors import TransportError

FOLDER = Path(__file__).parent
CREDENTIALS = {"farmToken": "token-of-the-farm", "studio": "lantern"}
DRAWS = 120.0  # seconds until a film is ready, or its question is asked
ORDERS = re.compile(r"/v7/studios/lantern/orders(?:/(?P<no>[^/]+)(?P<notes>/notes)?)?$")


class RenderFarm:
    """Draws films. One whose scene has a question mark in it asks something first.

    Attributes:
        films: by number.
        sent: what was sent that changes something, as it came.
        trouble: answers instead of the next changing request; each says whether it is carried out.
    """

    def __init__(self, clock):
        self.clock = clock
        self.films = {}
        self.sent = []
        self.trouble = []

    def send(self, request, *, timeout):
        if request.confirm is not None:
            request.confirm()
        assert request.headers["X-Farm-Token"] == CREDENTIALS["farmToken"]
        parts = urlsplit(request.url)
        match = ORDERS.fullmatch(parts.path)
        assert match, request.url
        if request.method == "GET":
            return self._read(match, parse_qs(parts.query))
        self.sent.append((request.method, parts.path, request.json))
        carried_out, trouble = self.trouble.pop(0) if self.trouble else (True, None)
        answer = self._change(request, match) if carried_out else None
        if isinstance(trouble, BaseException):
            raise trouble
        return answer if trouble is None else _json({"error": "so sorry"}, trouble)

    def spent(self):
        return sum(film["spent"] for film in self.films.values())

    # -- inside --------------------------------------------------------------------------------

    def _change(self, request, match):
        now = self.clock.time()
        if match["no"] is None:
            no = f"f-{len(self.films) + 1}"
            scene, budget = request.json["scene"], request.json.get("budget")
            self.films[no] = {
                **{"no": no, "scene": scene, "label": request.json.get("label")},
                **{"budget": budget, "at": now, "since": now, "spent": 0, "stage": "QUEUED"},
                **{"notes": [], "asks": "?" in scene, "film": None},
            }
        film = self.films.get(match["no"] or no)
        if film is None:
            return _json({"error": "no such order"}, 404)
        if match["notes"]:
            self._note(film, "studio", request.json["words"])
            film.update(asks=False, since=now, stage="DRAWING")
        elif request.method == "DELETE":
            film.update(stage="DROPPED", since=now)
        return _json(self._seen(film))

    def _read(self, match, query):
        if match["no"] is None:
            chosen = [
                film
                for film in self.films.values()
                if film["no"] in query.get("no", [film["no"]])
                and film["label"] in query.get("label", [film["label"]])
            ]
            return _json({"orders": [self._seen(film, listed=True) for film in chosen]})
        film = self.films.get(match["no"])
        if film is None:
            return _json({"error": "no such order"}, 404)
        seen = self._seen(film)
        return _json({"notes": film["notes"]} if match["notes"] else seen)

    def _seen(self, film, *, listed=False):
        late = self.clock.time() - film["since"]
        if film["stage"] in ("QUEUED", "DRAWING") and late > 1:
            film["stage"] = "DRAWING"
        if film["stage"] == "DRAWING" and late >= DRAWS:
            film.update(since=film["since"] + DRAWS, spent=film["spent"] + 2)
            if film["asks"]:
                film["stage"] = "ASKS"
                self._note(film, "farm", "Which colour?")
            else:
                film.update(stage="READY", film=f"https://films.example/{film['no']}")
        shown = {key: film[key] for key in ("no", "stage", "spent", "label")}
        shown |= {"page": f"https://farm.example/{film['no']}"}
        shown |= {"begun": _iso(film["at"]), "touched": _iso(film["since"])}
        return shown if listed else {**shown, "film": film["film"]}

    def _note(self, film, by, words):
        nr = f"{film['no']}.{len(film['notes'])}"
        when = _iso(self.clock.time())
        film["notes"].append({"nr": nr, "by": by, "words": words, "when": when})


def broken():
    """Return how a connection ends of which nobody knows what it carried."""
    return TransportError("The connection broke.")


def _iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _json(body, status=200):
    return Response(status, {"content-type": "application/json"}, json.dumps(body).encode())
