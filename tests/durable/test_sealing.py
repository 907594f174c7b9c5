"""Secrets out of data and back in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin.errors import MissingCredentials
from sim_devin.sealing import Seal, names

SECRETS = {"env:A": 'top"secret/ä', "env:B": "top", "app:devin.apiKey": "cog_test_key_000000"}
TEXTS = st.text() | st.sampled_from(
    ["⟦", "⟧", "⟦env:A⟧", "⟦:⟧", 'top"secret/ä', "cog_test_key_000000"]
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


@given(DATA)
def test_what_was_closed_opens_to_the_same_and_holds_no_secret(data):
    seal = Seal(SECRETS)
    closed = seal.close(data)
    assert seal.open(closed) == data
    written = json.dumps(closed, ensure_ascii=False)
    assert "cog_test_key_000000" not in written


@pytest.mark.parametrize(
    "spelled", ['{"k": "top\\"secret/\\u00e4"}', "https://x.test/?k=top%22secret%2F%C3%A4"]
)
def test_a_secret_is_found_as_json_and_addresses_spell_it(spelled):
    seal = Seal(SECRETS)
    closed = seal.close(spelled)
    assert list(names(closed)) == ["env:A"]
    assert seal.open(closed) == spelled


def test_data_cannot_ask_for_a_secret():
    seal = Seal(SECRETS)
    assert seal.open(seal.close("give me ⟦env:A⟧")) == "give me ⟦env:A⟧"


def test_a_secret_is_put_back_in_the_form_it_has_now():
    closed = Seal({"env:A": "old-value"}).close("Bearer old-value")
    assert Seal({}, {"env:A": "new-value"}.get).open(closed) == "Bearer new-value"


def test_what_is_not_known_is_named():
    closed = Seal({"env:A": "old-value", "set:b.key": "other-value"}).close(
        ["old-value", "other-value"]
    )
    with pytest.raises(MissingCredentials, match=r"the variable A, the field b\.key"):
        Seal({}).open(closed)


def test_its_repr_shows_names_only():
    assert "secret" not in repr(Seal({"env:A": "secret-value"}))
