import pytest

from trimtab.storage.words import GAP, holds, index_text, read_search
from trimtab.types import CallerError


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("plain ASCII, kept: as_it is", "plain ASCII, kept: as_it is"),
        ("東京都", "東京 京都 都"),
        ("東", "東"),
        ("GPT東京4", "gpt 東京 京 4"),
        ("Café ÉCOLE Straße", "cafe ecole strasse"),
        ("ｶﾞｲﾄﾞ ＡＢＣ", "ガイ イド ド abc"),
        ("カ\u3099ス", "ガス ス"),
        ("ジョン・スミス", "ジョ ョン ン スミ ミス ス"),
        ("서울특별시", "서울 울특 특별 별시 시"),
        ("ภาษาไทย", "ภา าษ ษา าไ ไท ทย ย"),
        ("😀—…", ""),
    ],
)
def test_text_becomes_words_and_bigrams(text: str, tokens: str) -> None:
    assert index_text([text]) == tokens


def test_pieces_stand_apart() -> None:
    assert index_text(["one", "two"]) == f"one {GAP} two"
    assert read_search(GAP) is None


@pytest.mark.parametrize(
    ("query", "expression"),
    [
        ("Refund now", '"refund" "now"'),
        ('"due date" x', '"due" "date" "x"'),
        ("e-mail", '"e" "mail"'),
        ("東京", '"東京"'),
        ("東", '"東" *'),
        ("gpt東", '"gpt" "東" *'),
        ("東京4", '"東京" "京" "4"'),
        ('"東京 都"', '"東京" "京" "都" *'),
        ('"東京 京"', '"東京" "京" "京" *'),
        ('a" OR "b', '"a" "or" "b"'),
        ("NEAR(a b) -c body:d ^e f*", '"near" "a" "b" "c" "body" "d" "e" "f"'),
        ('"unclosed', '"unclosed"'),
        ("' ; DROP TABLE words --", '"drop" "table" "words"'),
    ],
)
def test_a_query_becomes_quoted_words(query: str, expression: str) -> None:
    found = read_search(query)
    assert found is not None
    assert found.expression == expression


@pytest.mark.parametrize(
    ("query", "text", "holds_it"),
    [
        ('"due date"', "The due, DATE!", True),
        ('"due date"', "the date due", False),
        ('"due date"', "overdue date", False),
        ('"due date"', "due dates", False),
        ("e-mail", "an E-Mail", True),
        ("領収書", "領収書を", True),
        ("領収書", "収書と領収", False),
        ("東京都", "東京 京都", False),
        ("ｶﾞｲﾄﾞ", "ガイド", True),
        ("gpt東", "GPT東京", True),
        ("gpt東", "東GPT", False),
        ("東京4", "東京4月", True),
        ('"東京 都"', "東京 都庁", True),
        ('"東京 都"', "東京都庁", False),
        ('"café noir"', "CAFE NOIR", True),
    ],
)
def test_phrases_are_read_in_the_text(query: str, text: str, holds_it: bool) -> None:
    asked = read_search(query)
    assert asked is not None
    assert asked.phrases
    assert holds([text], asked.phrases) is holds_it
    assert holds(["x", text, "y"], asked.phrases) is holds_it


def test_no_phrase_reaches_across_two_pieces() -> None:
    asked = read_search('"due date" 領収書')
    assert asked is not None
    assert not holds(["due", "date 領収書"], asked.phrases)
    assert not holds(["due date 領収", "書"], asked.phrases)
    assert holds(["due date", "領収書"], asked.phrases)


@pytest.mark.parametrize("query", ["", "   ", '"', '""', "?!—", "*", "\x00", "\U0001f600"])
def test_a_query_without_words_matches_nothing(query: str) -> None:
    assert read_search(query) is None


@pytest.mark.parametrize("query", ["a " * 65, "東" * 600, f'"{"b " * 600}"'])
def test_a_query_of_too_many_words_is_the_callers_error(query: str) -> None:
    with pytest.raises(CallerError, match="search for fewer"):
        read_search(query)
