from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.providers.own.schema import grammar
from trimtab.types.errors import ProviderRejected

HEAD = "%llguidance {}\nstart: %json "


def compiled(schema):
    text = grammar(schema)
    assert text.startswith(HEAD)
    return msgspec.json.decode(text[len(HEAD) :])


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"not": {"type": "string"}}, "#/not"),
        ({"uniqueItems": True}, "#/uniqueItems"),
        ({"type": "object", "properties": {"a": {"contains": {}}}}, "#/properties/a/contains"),
        ({"anyOf": [{"type": "string"}, {"if": {}}]}, "#/anyOf/1/if"),
        ({"type": "nonsense"}, "a type is one of"),
        ({"type": ["string", 3]}, "a type is one of"),
        ({"type": []}, "a type is one of"),
        ({"minimum": 5, "maximum": 3}, "no answer can satisfy it"),
        ({"minLength": "5"}, "must be a number"),
        ({"enum": []}, "not empty"),
        ({"anyOf": []}, "not empty"),
        ({"anyOf": {}}, "not empty"),
        ({"properties": []}, "object of schemas"),
        ({"properties": {"a": False}}, "allows no answer"),
        ({"required": "a"}, "list of property names"),
        ({"$ref": "#/$defs/missing"}, "points at nothing"),
        ({"$ref": "https://example.com/s.json"}, "points out of the schema"),
        ({"pattern": "(("}, "no regular expression"),
        ({"pattern": "(?=a)b"}, "looks around"),
        ({"pattern": "(?<!a)b"}, "looks around"),
        ({"pattern": r"(a)\1"}, "looks around"),
        ({"pattern": r"\bfoo"}, "names a word's edge"),
        ({"pattern": 3}, "must be text"),
        ({"patternProperties": {"(?!x)": {}}}, "looks around"),
        ("a string", "is no schema"),
        (None, "is no schema"),
        (False, "allows no answer"),
        ([], "is no schema"),
        ({"description": "x" * 70_000}, "larger than"),
    ],
)
def test_what_cannot_be_enforced_is_refused(schema, says):
    with pytest.raises(ProviderRejected, match=r".") as caught:
        grammar(schema)
    assert says in caught.value.message
    assert caught.value.status == 400


def test_depth_is_bounded():
    schema = {"type": "string"}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    with pytest.raises(ProviderRejected, match="deeper"):
        grammar(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": r"^\d{4}-\d{2}$"},
        {"type": "string", "pattern": r"^\\b$"},
        {"type": "string", "pattern": r"^\p{L}+$"},
        {"type": "array", "prefixItems": [{"type": "null"}], "items": False},
        {"type": "object", "additionalProperties": False},
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}},
        {"$ref": "#"},
        {"type": "array", "uniqueItems": False},
    ],
)
def test_what_can_be_enforced_is_kept(schema):
    kept = compiled(schema)
    assert {name: kept[name] for name in schema if name != "uniqueItems"} == {
        name: value for name, value in schema.items() if name != "uniqueItems"
    }


def test_notes_are_left_out():
    assert "format" not in compiled({"type": "string", "format": "password"})
    assert compiled({"type": "string", "format": "date"})["format"] == "date"
    assert "maxItems" not in compiled({"type": "array", "maxItems": 100_000})
    assert compiled(True)["anyOf"] == [True]


words = st.sampled_from(
    [
        *(
            "type",
            "properties",
            "items",
            "anyOf",
            "$ref",
            "enum",
            "pattern",
            "required",
            "minimum",
            "maximum",
        ),
        *("maxItems", "$defs", "additionalProperties", "format", "not", "patternProperties", "uniqueItems"),
    ]
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["object", "string", "#", "#/$defs/a", "(", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(anything)
@settings(max_examples=400)
def test_any_json_is_compiled_or_refused(schema):
    with suppress(ProviderRejected):
        assert grammar(schema).startswith(HEAD)
