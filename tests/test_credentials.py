"""A key goes to the service that it is for, and to no other."""

import json

import pytest

import sim_devin
from sim_devin import Response, Specs, hookimpl
from sim_devin.errors import CallerError, MissingCredentials, UnknownName
from sim_devin.specs.models import Connection, ToolSpec

DEVINS, ACMES = "cog_devin_canary", "acme_canary"
DEVIN = {"apiKey": DEVINS, "orgId": "org-test"}
NOTHING = {"type": "object", "properties": {}}
ITEMS = {"type": "object", "properties": {"items": {"type": "array"}}}


def connection(name):
    field = {"title": "Key", "description": "D.", "env": f"{name.upper()}_KEY", "secret": True}
    return Connection(
        id=name,
        title=name,
        baseUrl=f"https://{name}.example/v1",
        baseUrlEnv=f"{name.upper()}_URL",
        headers={"Authorization": "Bearer {apiKey}"},
        fields={
            "apiKey": field,
            "token": {**field, "env": f"{name.upper()}_TOKEN"},
        },
    )


def ask_devin(params, context):
    del params
    return context.call("devin_list_sessions", {})


class Plugin:
    """Two services that call their keys as Devin does."""

    __name__ = "services"

    @hookimpl
    def sim_devin_specs(self):
        about = {"title": "T", "description": "D.", "params": NOTHING, "output": ITEMS}
        request = {"method": "GET", "path": "/things"}
        tools = [
            ToolSpec(id=f"{name}_get", connection=name, request=request, **about)
            for name in ("acme", "other")
        ]
        tools.append(ToolSpec(id="acme_ask", connection="acme", run=ask_devin, **about))
        return Specs(tools=tuple(tools), connections=(connection("acme"), connection("other")))


class Service:
    """Every service: notes what it is sent."""

    def __init__(self):
        self.requests = []

    def send(self, request, *, timeout):
        del timeout
        self.requests.append(request)
        return Response(200, {"content-type": "application/json"}, b'{"items": []}')

    def sent(self):
        return [(item.url.split("/")[2], json.dumps(dict(item.headers))) for item in self.requests]


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def open_app(service):
    def open_one(env=None, **options):
        tokens = {"ACME_TOKEN": "t1", "OTHER_TOKEN": "t2"}
        return sim_devin.open_app(
            transport=service,
            env={**tokens, **(env or {})},
            discover=False,
            plugins=[Plugin()],
            **options,
        )

    return open_one


def test_devins_key_is_not_sent_to_a_service_that_calls_its_own_the_same(open_app, service):
    app = open_app(credentials=DEVIN)
    for tool in ("acme_get", "acme_ask"):
        with pytest.raises(MissingCredentials, match="ACME_KEY"):
            app.call(tool)
    assert service.requests == []


def test_a_base_url_is_that_of_devin_alone(open_app, service, monkeypatch):
    env = {"ACME_KEY": ACMES}
    open_app(env, credentials=DEVIN, base_url="https://proxy.example/v3").call("acme_get")
    open_app({**env, "SIM_DEVIN_BASE_URL": "https://proxy.example/v3"}).call("acme_get")
    assert [host for host, _ in service.sent()] == ["acme.example", "acme.example"]


def test_a_tool_that_calls_another_services_tool_uses_that_services_key(open_app, service):
    open_app(credentials={**DEVIN, "acme": {"apiKey": ACMES}}).call("acme_ask")
    ((host, headers),) = service.sent()
    assert host == "api.devin.ai"
    assert DEVINS in headers
    assert ACMES not in headers


def test_credentials_of_others_are_given_by_connection(open_app, service):
    app = open_app(credentials={**DEVIN, "acme": {"apiKey": ACMES}})
    app.call("acme_get")
    ((_, headers),) = service.sent()
    assert ACMES in headers
    with pytest.raises(MissingCredentials, match="OTHER_KEY"):
        app.call("other_get")


@pytest.mark.parametrize(
    ("credentials", "error", "words"),
    [
        ({"token": ACMES}, CallerError, "Several connections .* acme, other"),
        ({"apiKye": ACMES}, CallerError, "Did you mean 'apiKey'"),
        ({"acmee": {"apiKey": ACMES}}, UnknownName, "acme"),
        ({"acme": {"apiKye": ACMES}}, CallerError, "Did you mean 'apiKey'"),
    ],
)
def test_credentials_that_nobody_can_use_are_refused(open_app, credentials, error, words):
    with pytest.raises(error, match=words) as raised:
        open_app(credentials=credentials)
    assert ACMES not in str(raised.value)
