"""How cassettes are read and written: matching, scrubbing, and where they come from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import vcr
import yaml
from vcr.serializers import yamlserializer
from vcr.stubs.urllib3_stubs import VCRRequestsHTTPConnection, VCRRequestsHTTPSConnection

from sim_devin.calls.connections import POOLS
from sim_devin.redaction import spellings

FOLDER = Path(__file__).parent.parent / "cassettes"
HOST = "https://api.devin.ai"
SCRUBBED = "cog_scrubbed"  # stands for every key

_REQUEST_HEADERS = ("Accept", "Content-Type")
_ANSWER_HEADERS = ("Content-Type", "Location", "Retry-After")
_KEY = re.compile(r"\b(?:cog|apk)_[A-Za-z0-9_\-]{6,}")
_SIGNED = re.compile(
    r"(?i)([?&](?:X-Amz-[A-Za-z-]+|Signature|Expires|sig|token|access_token)=)[^&\s\"'\\]+"
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


class Tapes:
    """Cassettes below `folder`, recorded from or played back as the service at `base_url`.

    `names` are texts to be replaced wherever they stand, such as the ids of a real
    organization. `origin` says in each file where it comes from.
    """

    def __init__(
        self,
        folder: Path = FOLDER,
        *,
        base_url: str = f"{HOST}/v3",
        origin: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.base_url = base_url.rstrip("/")
        self.origin = origin
        self.names = dict(names or {})
        self._vcr = vcr.VCR(
            match_on=("method", "uri", "json", "authorised"),
            before_record_request=self._request,
            before_record_response=self._answer,
            serializer="tape",
            # Its own patches reach urllib3's pools, not those with connections of our own.
            custom_patches=(
                (POOLS["http"], "ConnectionCls", VCRRequestsHTTPConnection),
                (POOLS["https"], "ConnectionCls", VCRRequestsHTTPSConnection),
            ),
        )
        self._vcr.register_matcher("json", same_json)
        self._vcr.register_matcher("authorised", both_authorised)
        self._vcr.register_serializer("tape", self)

    def play(self, path: str) -> Any:
        """Return the context in which the cassette at `path` is the service."""
        return self._vcr.use_cassette(
            self.folder / path, record_mode="none", allow_playback_repeats=False
        )

    def record(self, path: str) -> Any:
        """Return the context in which everything is recorded to `path`."""
        (self.folder / path).unlink(missing_ok=True)
        return self._vcr.use_cassette(self.folder / path, record_mode="all")

    def scrub(self, text: str) -> str:
        """Return `text` without keys, signatures, mail addresses and the names given."""
        for name, replacement in self.names.items():
            for spelled in sorted(spellings(name), key=len, reverse=True):
                text = text.replace(spelled, replacement)
        text = _SIGNED.sub(r"\1scrubbed", _KEY.sub(SCRUBBED, text))
        return _MAIL.sub("someone@example.com", text)

    def serialize(self, data: Mapping[str, Any]) -> str:
        """Return the text of a cassette, which begins with its origin."""
        head = f"# {self.origin}\n# Made by scripts/record_cassettes.py; do not edit.\n"
        told = {"recorded_from": self.origin, **data}
        # One line a body: a name that is broken over two lines could not be scrubbed.
        body = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=1_000_000)
        return head + self.scrub(body)

    deserialize = staticmethod(yamlserializer.deserialize)

    def _request(self, request: Any) -> Any:
        place, here = urlsplit(self.base_url), f"{HOST}/v3"
        uri = request.uri
        if uri.startswith(self.base_url):
            uri = here + uri[len(self.base_url) :]
        elif uri.startswith(f"{place.scheme}://{place.netloc}"):
            uri = HOST + uri[len(f"{place.scheme}://{place.netloc}") :]
        request.uri = self.scrub(uri)
        if request.body:
            request.body = self.scrub(request.body.decode()).encode()
        given = request.headers
        headers = {name: given[name] for name in _REQUEST_HEADERS if name in given}
        if "Authorization" in given:
            headers["Authorization"] = f"Bearer {SCRUBBED}"
        if "User-Agent" in given:
            headers["User-Agent"] = given["User-Agent"].partition("/")[0]
        request.headers = headers
        return request

    def _answer(self, answer: dict[str, Any]) -> dict[str, Any]:
        kept = {name.title(): value for name, value in answer["headers"].items()}
        body = answer["body"]["string"].decode("utf-8", "replace")
        return {
            "status": {"code": answer["status"]["code"], "message": answer["status"]["message"]},
            "headers": {
                name: [self.scrub(value) for value in kept[name]]
                for name in _ANSWER_HEADERS
                if name in kept
            },
            "body": {"string": self.scrub(body).encode()},
        }


def same_json(one: Any, other: Any) -> None:
    """Match two requests by what their bodies mean."""
    assert _json(one) == _json(other), "the bodies differ"


def both_authorised(one: Any, other: Any) -> None:
    """Match two requests by whether they carry a key."""
    named = ["Authorization" in request.headers for request in (one, other)]
    assert named[0] == named[1], "one of them carries no key"


def _json(request: Any) -> Any:
    return json.loads(request.body) if request.body else None
