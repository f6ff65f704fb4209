import json
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.cli.terminal import json_text, one_line, printable

texts = st.text(st.characters(), max_size=60)
hostile = st.text(
    st.sampled_from("\x1b[]\x07\r\n\t\x00\x7f\x9b\x9d\u202e\u2066\u2028\ud800\udfffab日本é"), max_size=40
)
any_text = texts | hostile


def obeyed(text: str) -> list[str]:
    """Characters that a terminal might act on, or that reorder text."""
    bidi = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff")
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cs") or c in bidi]


@given(any_text)
def test_nothing_obeyed_is_left(text):
    assert set(obeyed(printable(text))) <= {"\n", "\t"}
    assert obeyed(one_line(text)) == []


@given(st.lists(any_text))
def test_a_stream_may_be_made_safe_piece_by_piece(pieces):
    assert "".join(map(printable, pieces)) == printable("".join(pieces))


@given(st.text(st.sampled_from("abc é日\n\t.;()")))
def test_harmless_text_stays_as_it_is(text):
    assert printable(text) == text


@given(any_text, st.integers(2, 30))
def test_one_line_is_one_line_of_that_length(text, limit):
    assert len(one_line(text, limit)) <= limit
    assert "\n" not in one_line(text, limit)


documents = st.recursive(
    any_text | st.integers() | st.none(), lambda kid: st.lists(kid) | st.dictionaries(any_text, kid)
)


@settings(max_examples=50)
@given(documents)
def test_json_is_safe_and_says_the_same(value):
    text = json_text(value)
    assert obeyed(text) == []
    # Compared with plain JSON: two halves of a surrogate pair become one character in any of them.
    assert json.loads(text) == json.loads(json_text(value, indent=2)) == json.loads(json.dumps(value))


def test_a_long_text_is_cut_without_being_read_whole():
    assert one_line("word " * 1_000_000, 20) == "word word word word…"


def test_escape_sequences_are_shown():
    assert printable("\x1b]0;own\x07 \x9b31m") == "␛]0;own␇ \\x9b31m"
