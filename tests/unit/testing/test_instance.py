"""What the fake makes up for a JSON Schema must fit it: checked by pydantic, which wrote the schema."""

import enum
import re
import uuid
from datetime import date, datetime
from typing import Annotated, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from trimtab.testing.wire.instance import SchemaTooHard, fit


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    count: int = Field(ge=3, lt=9)
    share: float = Field(gt=0, le=1)
    even: int = Field(multiple_of=4, ge=5)
    below: int = Field(lt=-2)
    colour: Colour
    kind: Literal["only"]
    name: str = Field(min_length=12, max_length=20)
    short: str = Field(max_length=2)
    tags: list[str] = Field(min_length=3)
    none_at_all: None


class Tree(BaseModel):
    leaf: Leaf
    children: list["Tree"]
    parent: Optional["Tree"]
    when: datetime
    day: date
    ident: uuid.UUID
    pair: tuple[int, str]
    mapping: dict[str, int]
    flag: bool


def test_the_value_fits_a_recursive_model_with_every_constraint():
    schema = Tree.model_json_schema()
    made = fit(schema)
    assert Tree.model_validate(made).leaf.tags
    assert made == fit(schema)


def test_all_of_is_merged():
    schema = {
        "$defs": {"a": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}},
        "allOf": [{"$ref": "#/$defs/a"}, {"properties": {"y": {"type": "boolean"}}, "required": ["y"]}],
    }
    assert fit(schema) == {"x": 0, "y": True}


def test_required_names_without_a_schema_are_there():
    assert fit({"type": "object", "required": ["a"]}) == {"a": ""}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^x+$"},
        {"not": {"type": "string"}},
        False,
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]},
    ],
)
def test_what_cannot_be_made_up_is_refused_and_never_endless(schema):
    with pytest.raises(SchemaTooHard, match=re.compile("script the answer|schema")):
        fit(schema)


@given(low=st.integers(-50, 50), width=st.integers(0, 60), step=st.integers(1, 7))
def test_numbers_stay_in_range(low, width, step):
    schema = {"type": "integer", "minimum": low, "maximum": low + width, "multipleOf": step}
    value = fit(schema)
    assert low <= value <= low + width
    if any(n % step == 0 for n in range(low, low + width + 1)):
        assert value % step == 0


@given(
    st.recursive(
        st.sampled_from(
            [
                int,
                str,
                bool,
                float,
                None,
                date,
                Annotated[int, Field(gt=2)],
                Annotated[str, Field(min_length=5)],
            ]
        ),
        lambda inner: st.one_of(
            inner.map(lambda t: list[t]),
            inner.map(lambda t: Optional[t]),  # noqa: UP045
            inner.map(lambda t: dict[str, t]),
            st.tuples(inner, inner).map(lambda ts: tuple[ts]),
        ),
        max_leaves=6,
    )
)
def test_any_nesting_of_types_is_fitted(kind):
    adapter = TypeAdapter(kind)
    adapter.validate_json(_json(fit(adapter.json_schema())))


def _json(value):
    import json

    return json.dumps(value)
