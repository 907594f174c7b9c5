"""Attachments: upload, list, download through a signed address."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from sim_devin.simulator import Key, parse_scenarios

EVERY_BYTE = bytes(range(256)) * 3 + b"\r\n--not the boundary\r\n\r\n"


def form(content=EVERY_BYTE, name="a.bin", field="file", extra=""):
    head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n{extra}\r\n'
    body = b"--b0\r\n" + head.encode() + content + b"\r\n--b0--\r\n"
    return {"data": body, "headers": {"Content-Type": "multipart/form-data; boundary=b0"}}


def upload(client, **options):
    return client.ok("POST", "/attachments", **form(**options))


def follow(client, location, headers=None):
    parts = urlsplit(location)
    return client.simulator.handle("GET", parts.path, parse_qsl(parts.query), headers or {})


@pytest.mark.parametrize("name", ["a.bin", "two words.txt", "ä#?%.md", "..", "100%25"])
def test_an_upload_comes_back_byte_for_byte(client, name):
    file = upload(client, name=name)
    assert file.keys() == {"attachment_id", "name", "url"}
    assert file["name"] == name
    path = urlsplit(file["url"]).path
    assert path.startswith(f"/attachments/{file['attachment_id']}/")
    answer = client.call("GET", path)
    assert answer.status == 307
    assert answer.body == b""
    assert follow(client, answer.headers["Location"]).body == EVERY_BYTE


def test_an_uploaded_file_is_listed_with_the_session_it_was_sent_to(client):
    file = upload(client, extra="Content-Type: text/plain\r\n")
    session_id = client.create(attachment_urls=[file["url"]])
    listed = client.ok("GET", f"/sessions/{session_id}/attachments")
    assert listed == [
        {
            "attachment_id": file["attachment_id"],
            "name": "a.bin",
            "url": file["url"],
            "source": "user",
            "content_type": "text/plain",
        }
    ]


def test_what_devin_made_can_be_fetched(client, clock):
    session_id = client.create()
    clock.advance(300)
    item = client.ok("GET", f"/sessions/{session_id}/attachments")[0]
    assert (item["source"], item["content_type"]) == ("devin", "text/markdown")
    answer = client.call("GET", f"/attachments/{item['attachment_id']}/{item['name']}")
    fetched = follow(client, answer.headers["Location"])
    assert fetched.body.startswith(b"# Report")
    assert fetched.headers["Content-Type"] == "text/markdown"


def test_the_signed_address_lies_at_another_origin(client):
    file = upload(client)
    path = f"/attachments/{file['attachment_id']}/a.bin"
    for host, other in (
        ("127.0.0.1:99", "localhost:99"),
        ("localhost:99", "127.0.0.1:99"),
        ("sim.example", "sim.example"),
        ("[::1]:99", "[::1]:99"),
    ):
        answer = client.call("GET", path, headers={"Host": host})
        assert urlsplit(answer.headers["Location"]).netloc == other


def test_a_key_sent_to_the_signed_address_is_a_leak(client):
    file = upload(client)
    location = client.call("GET", f"/attachments/{file['attachment_id']}/a.bin").headers["Location"]
    assert follow(client, location).status == 200
    assert client.simulator.leaks == []
    assert follow(client, location, {"authorization": "Bearer cog_x"}).status == 200
    assert len(client.simulator.leaks) == 1
    assert client.simulator.leaks[0].headers == {"authorization": "***"}


@pytest.mark.parametrize("spoil", ["?signature=0", "?", "0", "x?signature=é"])
def test_a_signature_must_fit(client, spoil):
    file = upload(client)
    location = client.call("GET", f"/attachments/{file['attachment_id']}/a.bin").headers["Location"]
    assert follow(client, location.split("?")[0] + spoil).status == 403


@pytest.mark.parametrize(
    "options",
    [
        form(field="other"),
        {**form(), "headers": {"Content-Type": "multipart/form-data"}},
        {**form(), "headers": {"Content-Type": "text/plain; boundary=b0"}},
        {"data": b"", "headers": {"Content-Type": "multipart/form-data; boundary=b0"}},
        {},
    ],
)
def test_what_is_no_upload_is_422(client, options):
    answer = client.call("POST", "/attachments", **options)
    assert answer.status == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "file"]


def test_a_file_of_another_organization_is_not_there(make):
    keys = {"cog_a": Key("org-a"), "cog_b": Key("org-b")}
    client = make("cog_a", "org-a", keys=keys)
    file = upload(client)
    client.headers = {"Authorization": "Bearer cog_b"}
    client.base = "/v3/organizations/org-b"
    assert client.call("GET", f"/attachments/{file['attachment_id']}/a.bin").status == 404


def test_the_name_must_fit(client):
    file = upload(client)
    assert client.call("GET", f"/attachments/{file['attachment_id']}/b.bin").status == 404


def test_names_and_contents_survive_lone_surrogates(make, clock):
    files = [{"name": "{prompt}.txt", "content": "{prompt}"}]
    scenarios = parse_scenarios({"name": "s", "steps": [{"attachments": files}]})
    client = make(scenarios=scenarios, default_scenario="s")
    session_id = client.create("\ud800")
    assert client.ok("GET", f"/sessions/{session_id}/attachments")[0]["name"] == "?.txt"
