"""`${NAME}` in configuration text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.config import expand, references
from trimtab.types import ConfigError

NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,8}\Z")
PLAIN = st.text(st.characters(exclude_characters="$", exclude_categories=["Cs"]), max_size=20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${A}", "1"),
        ("x${A}y${B}z", "x1y2z"),
        ("${NONE:-d}", "d"),
        ("${NONE:-}", ""),
        ("${EMPTY:-d}", "d"),
        ("${A:-d}", "1"),
        ("${NONE:-http://h:1/${x}", "http://h:1/${x"),
        ("$A $", "$A $"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("${SNEAKY}", "${A}"),
    ],
)
def test_what_references_become(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2", "EMPTY": "", "SNEAKY": "${A}"}) == expected


@pytest.mark.parametrize("text", ["${NONE}", "${EMPTY}"])
def test_an_unset_variable_is_named_with_the_mend(text: str) -> None:
    with pytest.raises(ConfigError, match=r"environment variable \w+ is not set.*export it.*:-default"):
        expand(text, {"EMPTY": ""})


@pytest.mark.parametrize("text", ["${}", "${1A}", "${A B}", "${A-b}", "${:-x}"])
def test_a_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no reference"):
        expand(text, {"A": "1"})
    with pytest.raises(ConfigError, match="is no reference"):
        references(text)


def test_references_are_those_without_a_default() -> None:
    assert references("${A}${B:-x} ${C} $${D}") == ["A", "C"]


@given(PLAIN)
def test_text_without_a_dollar_stays_as_it_is(text: str) -> None:
    assert expand(text, {}) == text


@given(st.lists(st.tuples(PLAIN, NAMES)), PLAIN, st.text(max_size=10))
def test_every_reference_is_replaced_once(parts: list[tuple[str, str]], tail: str, value: str) -> None:
    env = {name: value or "v" for _, name in parts}
    text = "".join(f"{plain}${{{name}}}" for plain, name in parts) + tail
    assert expand(text, env) == "".join(plain + (value or "v") for plain, _ in parts) + tail
