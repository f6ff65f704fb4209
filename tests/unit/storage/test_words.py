import pytest

from trimtab.storage.words import GAP, index_text, match_expression
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
    assert match_expression(GAP) is None


@pytest.mark.parametrize(
    ("query", "expression"),
    [
        ("Refund now", '"refund" "now"'),
        ('"due date" x', '"due date" "x"'),
        ("e-mail", '"e mail"'),
        ("東京", '"東京"'),
        ("東", '"東" *'),
        ("gpt東", '"gpt 東" *'),
        ("東京4", '"東京 京 4"'),
        ('"東京 都"', '"東京 京 都" *'),
        ('"東京 京"', '"東京 京 京" *'),
        ('a" OR "b', '"a" "or" "b"'),
        ("NEAR(a b) -c body:d ^e f*", '"near a" "b" "c" "body d" "e" "f"'),
        ('"unclosed', '"unclosed"'),
        ("' ; DROP TABLE words --", '"drop" "table" "words"'),
    ],
)
def test_a_query_becomes_quoted_phrases(query: str, expression: str) -> None:
    assert match_expression(query) == expression


@pytest.mark.parametrize("query", ["", "   ", '"', '""', "?!—", "*", "\x00", "\U0001f600"])
def test_a_query_without_words_matches_nothing(query: str) -> None:
    assert match_expression(query) is None


@pytest.mark.parametrize("query", ["a " * 65, "東" * 600, f'"{"b " * 600}"'])
def test_a_query_of_too_many_words_is_the_callers_error(query: str) -> None:
    with pytest.raises(CallerError, match="search for fewer"):
        match_expression(query)
