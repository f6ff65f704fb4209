"""Whatever was written is found, without spaces by any two characters in a row; no query breaks."""

import contextlib
import json
import tempfile
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.storage import CallQuery, CallStore
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import sample_call
from trimtab.types import CallerError

# Characters that stay themselves under NFKC, of each script that is split into bigrams.
UNSPACED = (
    "東京都天気予報大阪府々〆一二三山川あいうえおかがきぎんをアイウエガギヴン"
    + "ー"
    + "서울특별시한국어ไทยภาษา"
    + "\U00020000𠮷"
)
LATIN = "abcXYZäÖéß019_-. ,;:'\"()*^+{}\\\n\t"

texts = st.text(st.sampled_from(UNSPACED + LATIN), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def store() -> Iterator[CallStore]:
    with tempfile.TemporaryDirectory() as folder:
        opened = open_call_store(folder)
        yield opened
        opened.close()


def found(store: CallStore, text: str) -> set[str]:
    return {call.id for call in store.find(CallQuery(text=text, limit=100_000))}


@settings(max_examples=150, deadline=None)
@given(texts)
def test_any_two_unspaced_characters_in_a_row_are_found(store: CallStore, text: str) -> None:
    call = sample_call(question=text, response=b"")
    store.insert([call])
    assert store.index_pending() == 0
    for at, character in enumerate(text):
        if character in UNSPACED:
            assert call.id in found(store, character)
            if at and text[at - 1] in UNSPACED:
                assert call.id in found(store, text[at - 1 : at + 1])
                assert call.id in found(store, f'"{text[at - 1 : at + 1]}"')


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from(UNSPACED), min_size=3, max_size=20), st.data())
def test_any_longer_run_is_found_too_and_a_strange_pair_is_not(
    store: CallStore, text: str, data: st.DataObject
) -> None:
    call = sample_call(question=text, response=b"")
    store.insert([call])
    store.index_pending()
    start = data.draw(st.integers(0, len(text) - 3))
    end = data.draw(st.integers(start + 1, len(text)))
    assert call.id in found(store, text[start:end])
    pair = data.draw(st.text(st.sampled_from(UNSPACED), min_size=2, max_size=2))
    assert (call.id in found(store, pair)) == (pair in text)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(st.characters(categories=("L", "Nd")), min_size=1, max_size=8), min_size=1, max_size=8)
)
def test_every_word_of_any_script_finds_its_text(store: CallStore, words: list[str]) -> None:
    call = sample_call(
        question=" ".join(words), response=json.dumps({"choices": [{"text": words[0]}]}).encode()
    )
    store.insert([call])
    store.index_pending()
    assert call.id in found(store, " ".join(words))
    for word in words:
        if any(unicodedata.category(c)[0] in "LN" for c in unicodedata.normalize("NFKC", word)):
            assert call.id in found(store, word)
            assert call.id in found(store, word.upper() if word.isascii() else word)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.text(st.sampled_from('"*^:+-(){}[]\\\x00 ANDORNEAR東京a'), max_size=80))
def test_no_search_text_breaks_the_search(store: CallStore, text: str) -> None:
    with contextlib.suppress(CallerError):  # too many words; anything else fails
        store.find(CallQuery(text=text))
