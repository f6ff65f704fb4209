"""Whatever a call holds, its exported line gives it back byte for byte."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.storage import LINE_FORMAT, call_line, read_call_line
from trimtab.testing.calls import sample_call, unfinished
from trimtab.types import FeedbackGiven, FormatTooNew, new_id

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
words = (
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "replace"))
    | st.sampled_from(
        [
            b"null", b'{"$text":"x"}', b'{"$base64":"eA=="}', b'{"$other":1}', b'{ "a" : 1 }', b"{}", b"[]", b"{",
            b'{"a":1} ', b' {"a":1}', b'{"a":1}{"b":2}', b'{"a":"\\ud800"}', b'{"a":1e999}', b'{"a":01}', b"\xff" * 32,
            b'{"a":"\xff"}', b"[" * 3000 + b"]" * 3000, b'{"a":1,"a":2}', b'{"a":"\\u00e9\\/"}',
            b'{"a":"\x7f\xe2\x80\xa8"}',
        ]
    )
)  # fmt: skip


@given(words, words, words, st.text(max_size=20), st.booleans())
def test_a_line_gives_back_the_call(
    request: bytes, variables: bytes, response: bytes, text: str, dies: bool
) -> None:
    call = sample_call(
        request=request, variables=variables, response=response, user=text, tags=(text, "é"), error_message=text,
        cost_nusd=(1 << 63) - 1, findings=({"rail": text, "spans": [[0, 1.5]], "n": None},),
    )  # fmt: skip
    given_ = FeedbackGiven(new_id(), call.id, 1, "default", "n", 0.1, text, text, text, text, "")
    call = msgspec.structs.replace(unfinished(call) if dies else call, feedback=(given_, given_))
    line = call_line(call)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\r" not in line
    json.loads(line)
    assert read_call_line(line) == call


def test_what_is_one_line_of_json_stands_as_it_is() -> None:
    call = sample_call(request=b'{"model": "m",  "messages": []}')
    assert json.loads(call_line(call))["opened"]["request"] == {"model": "m", "messages": []}
    assert json.loads(call_line(sample_call(variables=b"")))["opened"]["variables"] is None


def test_lines_of_other_versions() -> None:
    call = sample_call()
    row = json.loads(call_line(call))
    row["opened"]["colour"] = row["closed"]["usage"]["colour"] = row["colour"] = "new"
    row["closed"]["response"] = None
    del row["closed"]["findings"], row["opened"]["epoch"], row["feedback"]
    found = read_call_line(json.dumps(row).encode())
    assert found.closed is not None
    assert (found.closed.findings, found.opened.epoch, found.closed.response) == ((), "", b"")
    for newer in (row | {"format": LINE_FORMAT + 1}, {"format": LINE_FORMAT + 1}):
        with pytest.raises(FormatTooNew, match="newer Trimtab"):
            read_call_line(json.dumps(newer).encode())


def changed(**fields: object) -> bytes:
    row = json.loads(call_line(sample_call()))
    for name, value in fields.items():
        part, _, field = name.partition("__")
        if field:
            row[part][field] = value
        else:
            row[part] = value
    return json.dumps(row).encode()


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{}", b"[]", b"\xff", b'{"format":"x"}', b"[" * 100_000,
        changed(opened__id="no id"), changed(closed__id=new_id()), changed(state="error"), changed(closed=None),
        changed(opened__request="text"), changed(opened__request={"$base64": "?"}),
        changed(opened__request={"$odd": 1}),
        changed(closed__cost_nusd=1 << 63), changed(opened__opened_us=-(1 << 64)), changed(opened__purpose="fun"),
        changed(opened__user=7),
    ],
)  # fmt: skip
def test_what_is_no_call_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_call_line(line)
