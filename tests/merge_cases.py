"""Recorded cases of what Sim makes of a user's and a model's values, and how we agree with them."""

import json
from pathlib import Path

from sim_devin.calls.response import Response

CASES = json.loads((Path(__file__).parent / "conformance" / "llm_merge.json").read_text("utf-8"))
SESSION = {"session_id": "s", "items": [], "tags": []}

# Sim takes these; we refuse, naming the parameter, as the design's table of deviations says.
REFUSED = {
    "llm_undeclared_keys": ("method", "timeout", "proxyUrl", "operation", "foo"),
    "mrg-084": ("limit",),
    "mrg-086": ("limit",),
    "mrg-090": ("maxAcuLimit",),
    "mrg-091": ("maxAcuLimit",),
    "mrg-093": ("maxAcuLimit",),
    "mrg-094": ("maxAcuLimit",),
    "mrg-102": ("archive",),
    "mrg-109": ("prompt",),
    "mrg-110": ("prompt",),
    "mrg-112": ("prompt",),
    "mrg-121": ("tags", "prompt"),
    "mrg-125": ("tags", "prompt"),
    "mrg-129": ("tags",),
    "mrg-138": ("limit",),
    "mrg-140": ("limit",),
}
# Sim sends these otherwise; what we send instead.
OTHERWISE = {
    "mrg-089": {"body": {"prompt": "p"}},
    "mrg-098": {"url": "https://api.devin.ai/v3/organizations/org-abc123/sessions/devin-user"},
}


class Kept:
    """A transport that keeps the requests and gives one answer."""

    def __init__(self, body=SESSION):
        self.body = json.dumps(body).encode()
        self.requests = []

    def send(self, request, *, timeout):
        self.requests.append(request)
        return Response(200, {"content-type": "application/json"}, self.body)


def agrees(case, requests, refusal):
    """Assert that what came of a case is what was recorded, or what we document instead.

    `requests` are those that were sent; `refusal` is what the model was told, or None.
    """
    refused = REFUSED.get(case["id"]) or REFUSED.get(case["group"])
    if refused or "throws" in case["expect"]:
        assert refusal is not None
        assert not requests
        assert all(name in refusal for name in refused or ())
        return
    expected = case["expect"] | OTHERWISE.get(case["id"], {})
    (request,) = requests
    assert request.method == expected["method"]
    assert request.url == expected["url"]
    assert request.headers["Authorization"] == expected["authorization"]
    assert request.json == expected["body"]
