"""What is masked, by name and by value, and what is left alone."""

import html
import json
import pickle
import traceback
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin.errors import ApiError
from sim_devin.redaction import MASK, Redactor
from sim_devin.secret_names import is_secret_name

KEY = "k'e\"y %\\é/+0"


SECRETS = """
apiKey api_key X-Api-Key API.KEY Authorization Proxy-Authorization Set-Cookie access_token token
clientSecret sessionSecrets password db_passwd credentials auth AUTH x_auth basicAuth oauth
x-api-key X-Goog-Api-Key Ocp-Apim-Subscription-Key proxy-authorization cookie Cookies bearer
client_secret private_key session_secret slackToken X-Auth-Token APIToken accesstoken apiKeys
refresh_tokens Authorization-Header dbPwd AWS_SECRET_ACCESS_KEY apiKey2 sendToken backend_token jwt
X-Authentication DB_PASS smtpPass API_KEY_V2 TOKEN_PROD SECRET_KEY_BASE privateKeyPem
GITHUB_PAT creds
"""
OTHERS = """
prompt tokens_used secretary keyboard orgId author authority authors passage cursor tokens maxTokens
total_tokens tokenCount tokenType tokenizer nextPageToken next_page_token NEXT-PAGE-TOKEN pageToken
nextpagetoken nextToken continuationToken syncToken promptTokens max_output_tokens publicKey
primaryKey idempotencyKey secretIds cookieConsent PWD OLDPWD SSH_AUTH_SOCK XAUTHORITY key value
resumeToken skip_token startToken pass bypass compass isAuthenticated DATABASE knowledgeBase
"""


@pytest.mark.parametrize("name", [*SECRETS.split(), "private key"])
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", [*OTHERS.split(), "", "é"])
def test_names_of_other_things(name):
    assert not is_secret_name(name)


def test_a_long_name_from_outside_is_decided_in_one_pass():
    """Tried in every way to divide them, so many digits would take longer than anybody lives."""
    assert not is_secret_name("1" * 5000 + "x")
    assert not is_secret_name("token" + "1" * 5000 + "x")
    assert is_secret_name("token" + "1" * 5000)


_WORDS = st.lists(
    st.sampled_from(["slack", "my", "X", "goog", "prod", "service", "end"]), max_size=3
)


@given(
    _WORDS,
    st.sampled_from(
        ["auth", "authorization", "api key", "access token", "client secret", "cookie"]
    ),
    st.sampled_from(["camel", "-", "_", ".", " "]),
    st.sampled_from([str, str.upper, str.lower]),
)
def test_no_casing_or_separator_hides_the_name_of_a_secret(before, name, joint, cased):
    words = [*before, *name.split()]
    spelled = "".join(map(str.title, words)) if joint == "camel" else joint.join(words)
    assert is_secret_name(cased(spelled))


@given(
    st.sampled_from(["next page token", "page token", "max tokens", "token count", "author"]),
    st.sampled_from(["camel", "-", "_", "."]),
    st.sampled_from([str, str.upper, str.lower]),
)
def test_no_casing_or_separator_masks_a_cursor_or_a_count(name, joint, cased):
    words = name.split()
    spelled = "".join(map(str.title, words)) if joint == "camel" else joint.join(words)
    assert not is_secret_name(cased(spelled))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"auth": "a b", "n": 1}', '{"auth": "***", "n": 1}'),
        ("{'x-api-key': 'abc'}", "{'x-api-key': '***'}"),
        (json.dumps({"token": 'a"b\\\n', "z": 1}), '{"token": "***", "z": 1}'),
        (
            json.dumps([json.dumps({"token": 'a"b\\', "z": "y"})]),
            json.dumps([json.dumps({"token": "***", "z": "y"})]),
        ),
        ('{"nextPageToken": "abc", "author": "me"}', '{"nextPageToken": "abc", "author": "me"}'),
        ("https://s/x?client_secret=1&pageToken=2", "https://s/x?client_secret=***&pageToken=2"),
    ],
)
def test_members_and_queries_inside_a_text_are_masked_by_name(text, masked):
    assert Redactor().text(text) == masked


def test_a_password_in_an_address_is_masked():
    text = (
        "see https://me:made-up%20pw@x.test:8080/a?b=c@d and postgres://u:pw@db/x, http://x:80/@y"
    )
    masked = "see https://me:***@x.test:8080/a?b=c@d and postgres://u:***@db/x, http://x:80/@y"
    assert Redactor().text(text) == masked


def test_an_address_to_fetch_keeps_its_signature():
    address = "https://s3/x?X-Amz-Signature=abc"
    data = {"url": address, "auth": "x", "k": "my-secret-value"}
    shown = Redactor(["my-secret-value"]).data(data, queries=False)
    assert shown == {"url": address, "auth": MASK, "k": MASK}


def test_rows_of_a_table_are_masked_by_the_name_in_them():
    rows = [
        {"id": "1", "cells": {"Key": "Authorization", "Value": "Bearer x"}},
        {"name": "x-api-key", "value": "k", "type": "string"},
        {"cells": {"Key": "Accept", "Value": "text/html"}},
    ]
    assert Redactor().data(rows) == [
        {"id": "1", "cells": {"Key": "Authorization", "Value": MASK}},
        {"name": "x-api-key", "value": MASK, "type": "string"},
        {"cells": {"Key": "Accept", "Value": "text/html"}},
    ]


@pytest.mark.parametrize(
    "spelled",
    [
        KEY,
        f" {KEY} ",
        repr(KEY),
        repr({"a": KEY}),
        repr(f"\"'{KEY}"),
        json.dumps(KEY),
        json.dumps({"a": KEY}, ensure_ascii=False),
        quote(KEY, safe=""),
        quote_plus(KEY),
        html.escape(KEY),
        f"Bearer {KEY}, {KEY}",
        f"https://example.com/{quote(KEY, safe='')}?k={quote_plus(KEY)}",
    ],
)
def test_a_value_is_masked_however_it_is_spelled(spelled):
    masked = Redactor([KEY]).text(f"<{spelled}>")
    assert MASK in masked
    for part in ("e\\", "y%20", "y+%", "é/", "+0"):
        assert part not in masked


@pytest.mark.parametrize("spaced", [" padded-key ", "padded-key\n"])
def test_a_value_is_masked_without_the_blanks_around_it(spaced):
    assert Redactor([spaced]).text("Bearer padded-key!") == "Bearer ***!"


@given(st.text(min_size=8), st.text(), st.text())
def test_no_value_of_eight_characters_is_left(secret, before, after):
    redactor = Redactor([secret, None, 5])
    assert secret not in redactor.text(before + secret + after)
    assert secret not in json.dumps(redactor.data({"a": [before + secret]}), ensure_ascii=False)
    assert secret not in redactor.text(redactor.text(before + secret * 2 + after))


@pytest.mark.parametrize("secret", ["ab***cdef", "********", "***" * 4])
def test_masks_do_not_make_a_secret(secret):
    for text in (f"ab{secret}cdef", secret * 3, f"***{secret}***"):
        assert secret not in Redactor([secret]).text(text)


def test_one_secret_inside_another():
    assert Redactor(["abcdef", "abcdef-long"]).text("abcdef-long abcdef") == "*** ***"


def test_short_values_would_blot_out_ordinary_text():
    assert Redactor(["a", "short"]).text("a short text") == "a short text"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("key cog_abc123XYZ is wrong", "key *** is wrong"),
        ("apk_user_abcdef", "***"),
        ("cog_abc", "cog_abc"),
        ("incog_nitomode", "incog_nitomode"),
        ("https://s3/x?X-Amz-Signature=abc&a=1", "https://s3/x?X-Amz-Signature=***&a=1"),
        ("https://s3/x?a=1&sig=abc'", "https://s3/x?a=1&sig=***'"),
        ("nothing here", "nothing here"),
    ],
)
def test_what_looks_like_a_secret_is_masked_unknown(text, masked):
    assert Redactor().text(text) == masked


def test_data_is_masked_by_name_and_by_value():
    data = {
        "apiKey": "x",
        "empty": {"token": "", "password": None},
        "list": [{"Authorization": {"deep": 1}}, ("my-secret-value", 5, True)],
        "my-secret-value": 1,
    }
    before = repr(data)
    assert Redactor(["my-secret-value"]).data(data) == {
        "apiKey": MASK,
        "empty": {"token": "", "password": None},
        "list": [{"Authorization": MASK}, [MASK, 5, True]],
        MASK: 1,
    }
    assert repr(data) == before


def test_headers():
    headers = {"Authorization": "Bearer x", "X-Other": "my-secret-value", "Accept": "a"}
    assert Redactor(["my-secret-value"]).headers(headers) == {
        "Authorization": MASK,
        "X-Other": MASK,
        "Accept": "a",
    }


def test_errors_are_masked_in_place():
    secret = "my-secret-value"
    error = ApiError(
        f"HTTP 400: {secret}.",
        status=400,
        detail=secret,
        problems=[f"key: {secret}"],
        request_id=secret,
        hint=f"Not {secret}.",
    )
    assert Redactor([secret]).error(error) is error
    told = [
        str(error),
        repr(error),
        str(vars(error)),
        str(error.to_json()),
        "".join(traceback.format_exception(error)),
        pickle.dumps(error).decode("latin-1"),
    ]
    assert all(secret not in text for text in told)
    assert error.status == 400
    assert error.problems == [f"key: {MASK}"]


def test_the_repr_tells_only_how_much_it_knows():
    assert "my-secret-value" not in repr(Redactor(["my-secret-value"]))
