"""Blocks, names and zones against the simplest things that could do the same."""

import itertools
import json
import os
import tempfile
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.storage import CallQuery, Erasure
from trimtab.storage.sqlite import open_call_store
from trimtab.storage.sqlite.connection import connect
from trimtab.storage.sqlite.packed import Names, Payloads, names, zones
from trimtab.storage.sqlite.payload import PayloadCodec
from trimtab.storage.sqlite.schema import DAY_FORMATS, create_day_file
from trimtab.storage.text import call_text
from trimtab.storage.words import holds, read_search, rules_out
from trimtab.testing.calls import NOON_MS, sample_call

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(1, 150), st.integers(0, 3), st.sampled_from([9, 900, 9000])),
        st.tuples(st.just("drop"), st.integers(1, 70), st.integers(1, 7), st.integers(0, 400)),
        st.tuples(st.just("pack"), st.booleans(), st.none(), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_every_payload_is_where_it_was_put_and_nowhere_once_dropped(steps: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls-20260922.db"
        create_day_file(path)
        connection = connect(path, formats=DAY_FORMATS)
        payloads = Payloads(connection, PayloadCodec())
        kept: dict[int, tuple[bytes, bytes, bytes]] = {}
        doc = 0
        for step, number, gap, extra in steps:
            if step == "store":
                fresh = {}
                for _ in range(number):
                    doc += 1 + gap
                    fresh[doc] = (b"request %d" % doc, os.urandom(extra // 2), b"")
                payloads.store(fresh)
                kept |= fresh
            elif step == "drop":
                gone = list(range(extra, extra + number * gap, gap))
                payloads.drop(gone)
                for one in gone:
                    kept.pop(one, None)
            else:
                payloads.pack(doc if number else None)
        seen_anew = Payloads(connection, PayloadCodec())
        for one in range(doc + 2):
            expected = kept.get(one, (b"", b"", b""))
            assert payloads.get(one) == seen_anew.get(one) == expected
        blocks = connection.execute("SELECT count(*) FROM block").get
        alone = connection.execute("SELECT count(*) FROM payload").get
        assert kept or not (blocks or alone)
        connection.close()


@given(
    places=st.lists(st.integers(0, 1 << 46), unique=True, max_size=60),
    spread=st.integers(1, 3000),
    order=st.sampled_from(["any", "rising", "falling"]),
    data=st.data(),
)
def test_zones_give_the_newest_first_whatever_the_order_of_storing(
    places: list[int], spread: int, order: str, data: st.DataObject
) -> None:
    if order != "any":
        places.sort(reverse=order == "falling")
    docs = [(i * spread, place) for i, place in enumerate(places)]
    bounds: dict[int, zones.Zone] = {}
    for doc, place in docs:
        old = bounds.get(doc >> 10, zones.Zone(doc >> 10, place, place))
        bounds[doc >> 10] = zones.Zone(doc >> 10, min(old.bottom, place), max(old.top, place))
    searched: list[zones.Range] = []

    def found(among: zones.Range) -> list[zones.Found]:
        searched.append(among)
        return [(place, doc, "") for doc, place in docs if among.first <= doc < among.end]

    wanted = data.draw(st.integers(0, len(places)))
    walk = zones.newest_first(found, zones.ranges(bounds.values()))
    got = [row[0] for row in itertools.islice(walk, wanted)]
    assert got == sorted(places, reverse=True)[:wanted]
    ends = sorted((one.first, one.end) for one in searched)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(ends))
    if order == "rising" and wanted == 1:
        assert len(searched) <= 1


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(max_size=4), max_size=30), most=st.integers(0, 12))
def test_a_name_is_one_value_in_all_rows(texts: list[str], most: int) -> None:
    texts = [text for text in texts if text and text.isprintable()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls-20260922.db"
        create_day_file(path)
        connection = connect(path, formats=DAY_FORMATS)
        usual, names.MOST_NAMES = names.MOST_NAMES, most
        try:
            writer, reader = Names(connection), Names(connection)
            held = [writer.number(text) for text in texts]
        finally:
            names.MOST_NAMES = usual
        assert [reader.value(one) for one in held] == texts
        assert [reader.known(text) for text in texts] == held
        assert len({one for one in held if isinstance(one, int)}) == min(len(set(texts)), most)
        for prefix in {text[:1] for text in texts}:
            numbers = set(reader.beginning_with(prefix))
            assert numbers == {
                one
                for one, text in zip(held, texts, strict=True)
                if isinstance(one, int) and text.startswith(prefix)
            }
        connection.close()


def test_more_names_than_are_numbered_are_found_as_ever(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(names, "MOST_NAMES", 30)
    store = open_call_store(tmp_path)
    calls = [
        sample_call(ms=NOON_MS + i, route=f"route-{i}", model=f"own/m{i}", key="k" * 300) for i in range(60)
    ]
    for call in calls:
        store.insert([call])
    for call in calls:
        o = call.opened
        assert [found.id for found in store.find(CallQuery(route=o.route))] == [call.id]
        assert [found.id for found in store.find(CallQuery(model=o.model))] == [call.id]
    assert store.find(CallQuery(model="own/", limit=100), payload=True) == calls[::-1]
    assert len(store.find(CallQuery(key="k" * 300, limit=100))) == 60
    assert store.erase_project("default") == 60
    assert store.erase(Erasure(user="ann")) == []
    assert store.rollup("hour_model") == []
    store.close()
    connection = apsw.Connection(str(tmp_path / "calls-20260922.db"))
    assert connection.execute("SELECT count(*) FROM name").get == 0
    connection.close()


def test_a_transaction_undone_undoes_its_names(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    store.insert([sample_call()])
    with pytest.raises(OverflowError):
        store.insert([sample_call(route="lost"), sample_call(route="lost", cost_nusd=1 << 70)])
    call = sample_call(route="lost", model="own/found")
    store.insert([sample_call(route="other"), call])
    assert store.get(call.id) == call
    assert [found.id for found in store.find(CallQuery(route="lost"))] == [call.id]
    store.close()


_PARTS = 'due Date DUE ｄｕｅ date dé de 領収 収書 東京 が カ\u3099 _ - n 4 u0064 \\ \\n " \ud800'
_WORDS = st.lists(st.sampled_from([*_PARTS.split(), " ", "\n", "\u3000"]), max_size=9).map("".join)


@settings(max_examples=400, deadline=None)
@given(
    texts=st.lists(_WORDS, min_size=1, max_size=3),
    query=_WORDS,
    quoted=st.booleans(),
    ascii_only=st.booleans(),
    arguments=st.booleans(),
)
def test_what_is_ruled_out_in_a_body_is_not_in_its_texts(
    texts: list[str], query: str, *, quoted: bool, ascii_only: bool, arguments: bool
) -> None:
    message: dict[str, object] = {
        "role": "user",
        "content": [{"type": "text", "text": text} for text in texts],
    }
    if arguments:
        inner = json.dumps(dict.fromkeys(texts, texts), ensure_ascii=ascii_only)
        message = {"tool_calls": [{"function": {"name": "f", "arguments": inner}}]}
    body = json.dumps({"messages": [message]}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    asked = read_search(f'"{query.replace(chr(34), " ")}"' if quoted else query)
    if asked is not None and asked.phrases and holds(call_text(body, b""), asked.phrases):
        assert not rules_out((body, b""), asked.phrases)
