"""Secrets out of data and back in."""

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin.errors import MissingCredentials
from sim_devin.redaction import SPELLINGS
from sim_devin.store.sealing import (
    KEY,
    Seal,
    from_json,
    names,
    read_json,
    read_text,
    to_json,
    to_text,
)

SECRETS = {
    "env:A": 'top"secret/ä',
    "env:B": "top",
    "env:N": "31415926",
    "set:b.$sealed": "$sealed",
    "app:devin.apiKey": "cog_test_key_000000",
}
REFERENCE = {KEY: [{"name": "env:A"}]}
TEXTS = st.text() | st.sampled_from(
    [
        "⟦env:A⟧",
        "***",
        KEY,
        "items",
        json.dumps(REFERENCE),
        *SECRETS.values(),
        *(f"<{spell(SECRETS['env:A'])}>" for spell in SPELLINGS.values()),
    ]
)
DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXTS
    | st.sampled_from([31415926, REFERENCE, to_json(Seal(SECRETS).close([SECRETS["env:A"]]))]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(TEXTS, inner)
        | inner.map(lambda item: {KEY: item})
        | inner.map(lambda item: {KEY: {"items": [[KEY, item]]}})
    ),
    max_leaves=8,
)


def stored(seal, data):
    """Return the JSON text that a store would hold."""
    return json.dumps(to_json(seal.close(data)))


@given(DATA)
def test_what_was_closed_opens_to_the_same_and_holds_no_secret(data):
    seal = Seal(SECRETS)
    written = stored(seal, data)
    assert seal.open(read_json(written)) == data
    assert "cog_test_key_000000" not in written
    assert json.dumps(SECRETS["env:A"])[1:-1] not in written
    assert "31415926" not in written


@given(DATA)
def test_what_is_closed_already_stays_as_it_is(data):
    seal = Seal(SECRETS)
    closed = seal.close(data)
    assert seal.close(closed) == closed
    again = from_json(to_json(closed))
    assert json.dumps(to_json(seal.close(again))) == json.dumps(to_json(closed))


@given(DATA)
def test_data_of_others_names_no_secret(data):
    assert not list(names(read_json(stored(Seal({}), data))))


@given(TEXTS)
def test_a_text_in_a_column_of_texts_comes_back(text):
    seal = Seal(SECRETS)
    assert seal.open(read_text(to_text(seal.close(text)))) == text
    assert Seal({}).open(read_text(to_text(text))) == text


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", ['top"secret/ä', "p%\n'\"<ü>& /x", "ordinary-token", "  pad  "])
def test_a_secret_is_found_however_it_is_spelled(spelling, secret):
    seal = Seal({"env:A": secret})
    text = f"see: {SPELLINGS[spelling](secret)}."
    closed = seal.close(text)
    if len(SPELLINGS[spelling](secret)) >= 6:
        assert list(names(closed)) == ["env:A"]
        assert str(closed) == "see: ***."
    assert seal.open(read_json(json.dumps(to_json(closed)))) == text


def test_a_number_that_is_a_secret_is_none_in_the_store_and_one_again_afterwards():
    seal = Seal(SECRETS)
    written = stored(seal, {"code": 31415926})
    assert "31415926" not in written
    assert seal.open(read_json(written)) == {"code": 31415926}


def test_a_short_password_is_found_under_a_key_that_says_so():
    seal = Seal({"env:A": "p71"})
    data = {"password": "p71", "note": "p71"}
    assert stored(seal, data) == '{"password": {"$sealed": [{"name": "env:A"}]}, "note": "p71"}'
    assert seal.open(read_json(stored(seal, data))) == data


def test_closed_data_shows_masks_wherever_it_gets_to():
    closed = Seal(SECRETS).close({"say": "Bearer cog_test_key_000000!"})
    assert json.dumps(closed) == '{"say": "Bearer ***!"}'
    assert f"{closed['say']}" == "Bearer ***!"
    for twin in (copy.deepcopy(closed), pickle.loads(pickle.dumps(closed))):
        assert twin == closed
        assert Seal(SECRETS).open(twin) == {"say": "Bearer cog_test_key_000000!"}


def test_only_names_that_are_recorded_are_put_back():
    seal = Seal(SECRETS, {"env:HOME": "/root"}.get, {"env:A"}.__contains__)
    assert seal.open(from_json(REFERENCE)) == SECRETS["env:A"]
    for name in ("env:HOME", "app:devin.apiKey"):
        with pytest.raises(MissingCredentials, match=r"HOME|apiKey"):
            seal.open(from_json({KEY: [{"name": name}]}))


def test_a_credential_is_put_back_in_the_form_it_has_now():
    closed = Seal({"env:A": "old-value"}).close_credentials({"k": ["Bearer old-value"]})
    seal = Seal({}, {"env:A": "new-value"}.get)
    assert seal.open(closed) == {"k": ["Bearer new-value"]}
    assert seal.open(from_json(to_json(closed))) == {"k": ["Bearer new-value"]}


@pytest.mark.parametrize(
    ("name", "shown"), [("env:A", "{{A}}"), ("app:devin.apiKey", "***"), ("set:b.f", "***")]
)
def test_a_text_does_not_get_the_new_value_of_a_secret_whose_old_one_it_held(name, shown):
    closed = Seal({name: "31415926"}).close(["see 31415926", 31415926, {"31415926": 1}])
    written = json.dumps(to_json(closed))
    for value in ("31415927", "31415928", "another"):
        found = Seal({name: value}).open(read_json(written))
        assert found == [f"see {shown}", shown, {shown: 1}]


def test_what_is_not_known_is_named():
    closed = Seal({"env:A": "old-value", "set:b.key": "other-value"}).close(
        ["old-value", "other-value"]
    )
    with pytest.raises(MissingCredentials, match=r"the variable A, the field b\.key"):
        Seal({}).open(closed)
    assert Seal({"env:A": "old-value"}).open_known(closed) == ["old-value", closed[1]]


def test_its_repr_shows_names_only():
    assert "secret" not in repr(Seal({"env:A": "secret-value"}))
