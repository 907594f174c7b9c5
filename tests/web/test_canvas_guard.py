"""Who is turned away, and what every answer carries."""

import pytest


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "evil.test:8765"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": "127.0.0.1:9999"}, 421),
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Basic a-token-for-tests"}, 401),
        ({"authorization": "Bearer t\u00f6ken".encode("latin-1")}, 401),
        ({"origin": "http://127.0.0.1:8765"}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_only_the_own_page_with_the_token_is_served(canvas, headers, status):
    assert canvas.get("info", headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/", "/assets/x.js", "/api/info"])
def test_every_path_wants_the_right_host(canvas, path):
    assert canvas.client.get(path, headers={"host": "evil.test:8765"}).status_code == 421


def test_a_change_has_to_be_json_of_a_bearable_size(canvas):
    plain = canvas.client.post("/api/runs", content="{}", headers={"content-type": "text/plain"})
    assert plain.status_code == 415
    huge = {"content-type": "application/json", "content-length": str(10**9)}
    assert canvas.client.post("/api/runs", content="{}", headers=huge).status_code == 413
    for text in ("[]", "nonsense"):
        wrong = canvas.client.post(
            "/api/runs", content=text, headers={"content-type": "application/json"}
        )
        assert wrong.status_code == 422


def test_answers_are_hardened_and_not_kept(canvas):
    headers = canvas.get("info").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_names_outside_the_page_are_not_found(canvas, tmp_path):
    odd = ("/../../pyproject.toml", "/%2e%2e/%2e%2e/pyproject.toml", "/a%00b", "/" + "a" * 3000)
    for path in (*odd, "/api.py", "/nothing"):
        assert canvas.client.get(path).status_code in (404, 503)
