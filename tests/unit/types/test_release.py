"""A release is named by its content: RFC 8785's canonical JSON, hashed."""

import hashlib
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.types import Epoch, Project, Release

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
parameters = st.dictionaries(st.text(min_size=1, max_size=8), json_values, max_size=4)


def shuffled(value):
    """The same JSON, written in another order."""
    if isinstance(value, dict):
        items = list(value.items())
        random.shuffle(items)
        return {key: shuffled(inner) for key, inner in items}
    return [shuffled(inner) for inner in value] if isinstance(value, list) else value


def test_the_trivial_release_is_its_model_alone():
    release = Release(model="openai/gpt-4o-mini")
    assert release.canonical() == b'{"model":"openai/gpt-4o-mini"}'
    digest = hashlib.sha256(b'{"model":"openai/gpt-4o-mini"}').hexdigest()
    assert release.id() == "rel_" + digest[:32]
    assert len(release.id()) == 36


def test_the_canonical_form_of_a_full_release_is_known_to_the_byte():
    release = Release(
        model="a/b",
        fallbacks=("c/d", "e/f"),
        parameters={"temperature": 0.5, "max_tokens": 10, "é": [1e21, -0.0, "\u2028"]},
        prompt="p@1",
        tools=({"type": "function"},),
        output_schema={"type": "object"},
        guard_pack="g@2",
    )
    assert release.canonical().decode() == (
        '{"fallbacks":["c/d","e/f"],"guard_pack":"g@2","model":"a/b","output_schema":{"type":"object"},'
        '"parameters":{"max_tokens":10,"temperature":0.5,"é":[1e+21,0,"\u2028"]},"prompt":"p@1",'
        '"tools":[{"type":"function"}]}'
    )


@given(parameters)
def test_the_order_of_writing_makes_no_other_release(given_parameters):
    one = Release(model="a/b", parameters=given_parameters)
    other = Release(model="a/b", parameters=shuffled(given_parameters))
    assert one.id() == other.id()
    assert msgspec.json.decode(one.canonical()).get("parameters", {}) == given_parameters


@given(parameters, parameters)
def test_other_parameters_make_another_release(one, other):
    same = msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
    assert (Release(model="a/b", parameters=one).id() == Release(model="a/b", parameters=other).id()) == same


@pytest.mark.parametrize(
    "change",
    [
        {"model": "a/c"},
        {"fallbacks": ("x/y",)},
        {"parameters": {"temperature": 0}},
        {"prompt": "p@1"},
        {"tools": ({"type": "function"},)},
        {"output_schema": {"type": "object"}},
        {"guard_pack": "g@1"},
    ],
)
def test_every_part_is_in_the_id(change):
    assert Release(**({"model": "a/b"} | change)).id() != Release(model="a/b").id()


def test_the_order_of_fallbacks_is_content():
    assert (
        Release(model="m/m", fallbacks=("a/b", "c/d")).id()
        != Release(model="m/m", fallbacks=("c/d", "a/b")).id()
    )


def test_an_epoch_is_shown_behind_its_model_and_a_project_is_the_default_one():
    assert str(Epoch(model="openai/gpt-4o", number=7)) == "openai/gpt-4o@e7"
    assert str(Epoch(model="openai/gpt-4o")) == "openai/gpt-4o@e1"
    assert Project().name == "default"
    assert Project().payload == "full"
