"""Reading a request: only what steers the call is understood, the rest stays as written."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.access import Caller
from trimtab.pipeline import Ask
from trimtab.pipeline.ask import ParamsHash, parse
from trimtab.types.errors import CallerError

MESSAGES = b'"messages":[{"role":"user","content":"x"}]'


def read(body: bytes, *, kind="chat", user=""):
    return parse(Ask(kind=kind, body=body, caller=Caller(), user=user), ParamsHash())


def chat(rest: str = "", model: str = '"a/b"'):
    extra = b"," + rest.encode() if rest else b""
    return read(b'{"model":' + model.encode() + b"," + MESSAGES + extra + b"}")


def test_a_plain_request():
    parsed = chat()
    assert parsed.model == "a/b"
    assert not parsed.stream
    assert not parsed.wants_usage
    assert parsed.user == ""
    assert parsed.params_hash == ""
    assert set(parsed.fields) == {"model", "messages"}


def test_fields_we_do_not_know_stay_as_written():
    parsed = chat('"x_unknown": {"a" : [1.50, 1e3]}, "temperature": 0.10')
    assert bytes(parsed.fields["x_unknown"]) == b'{"a" : [1.50, 1e3]}'
    assert bytes(parsed.fields["temperature"]) == b"0.10"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"", None, "JSON object"),
        (b"[]", None, "JSON object"),
        (b"null", None, "JSON object"),
        (b'"x"', None, "JSON object"),
        (b'{"model":"a/b"', None, "JSON object"),
        (b"\xff\xfe", None, "JSON object"),
        (b'{"model":7,' + MESSAGES + b"}", "model", "`model` must be a text"),
        (b'{"model":"a/b"}', "messages", "`messages` is missing"),
        (b'{"model":"a/b","stream":"yes",' + MESSAGES + b"}", "stream", "true or false"),
        (b'{"model":"a/b","stream":1,' + MESSAGES + b"}", "stream", "true or false"),
        (
            b'{"model":"a/b","stream":true,"stream_options":[],' + MESSAGES + b"}",
            "stream_options",
            "an object",
        ),
        (b'{"model":"a/b","user":7,' + MESSAGES + b"}", "user", "a text"),
        (b'{"model":"a/b","safety_identifier":{},' + MESSAGES + b"}", "safety_identifier", "a text"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(body, param, words):
    with pytest.raises(CallerError) as refused:
        read(body)
    assert words in refused.value.message
    assert refused.value.param == param


@pytest.mark.parametrize("name", ["model", "user", "safety_identifier"])
def test_bytes_that_are_no_text_in_a_field_we_read_are_the_callers_fault(name):
    body = b'{"stream":true,"model":"a/b",' + MESSAGES + b',"' + name.encode() + b'":"\xff"}'
    with pytest.raises(CallerError) as refused:
        read(body)
    assert refused.value.param == name


def test_deep_nesting_is_refused_and_does_not_end_the_process():
    with pytest.raises(CallerError):
        read(b'{"model":"a/b","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_embeddings_need_an_input_and_never_stream():
    with pytest.raises(CallerError) as refused:
        read(b'{"model":"a/b",' + MESSAGES + b"}", kind="embeddings")
    assert refused.value.param == "input"
    parsed = read(b'{"model":"a/b","input":"x","stream":true}', kind="embeddings")
    assert not parsed.stream
    assert "stream_options" not in parsed.fields


@pytest.mark.parametrize("stream", ["false", "null"])
def test_an_unstreamed_request_asks_for_no_usage_report(stream):
    parsed = chat(f'"stream":{stream}')
    assert not parsed.stream
    assert "stream_options" not in parsed.fields


@pytest.mark.parametrize(
    ("options", "wanted", "sent"),
    [
        (None, False, {"include_usage": True}),
        ("null", False, {"include_usage": True}),
        ("{}", False, {"include_usage": True}),
        ('{"include_usage":false}', False, {"include_usage": True}),
        ('{"include_usage":1}', False, {"include_usage": True}),
        ('{"include_usage":true}', True, {"include_usage": True}),
        ('{"include_obfuscation":false}', False, {"include_obfuscation": False, "include_usage": True}),
        (
            '{"include_usage":true,"include_obfuscation":false}',
            True,
            {"include_obfuscation": False, "include_usage": True},
        ),
    ],
)
def test_a_stream_always_reports_usage_upstream_and_remembers_who_wanted_it(options, wanted, sent):
    parsed = chat('"stream":true' + (f',"stream_options":{options}' if options else ""))
    assert parsed.stream
    assert parsed.wants_usage is wanted
    assert msgspec.json.decode(parsed.fields["stream_options"]) == sent


@pytest.mark.parametrize(
    ("header", "body", "user"),
    [
        ("h", '"user":"u","safety_identifier":"s"', "h"),
        ("", '"user":"u","safety_identifier":"s"', "u"),
        ("", '"user":"","safety_identifier":"s"', "s"),
        ("", '"user":null,"safety_identifier":"s"', "s"),
        ("", '"safety_identifier":null', ""),
        ("", '"temperature":1', ""),
    ],
)
def test_the_user_is_the_headers_then_the_bodys(header, body, user):
    assert read(b'{"model":"a/b",' + MESSAGES + b"," + body.encode() + b"}", user=header).user == user


# --- the hash of the parameters -----------------------------------------------------------------------------

names = st.sampled_from(["temperature", "top_p", "max_tokens", "tools", "x", "seed"])
raws = st.builds(lambda n: msgspec.Raw(str(n).encode()), st.integers(0, 99))
written = st.dictionaries(names, raws, max_size=6)


@given(written, st.randoms())
def test_order_does_not_matter_and_words_are_no_parameters(fields, random):
    items = list(fields.items())
    random.shuffle(items)
    words = {name: msgspec.Raw(b"1") for name in ("model", "messages", "input", "stream", "stream_options")}
    who = {name: msgspec.Raw(b'"x"') for name in ("user", "safety_identifier", "metadata")}
    plain, other = ParamsHash(), ParamsHash()
    made = plain.of(fields)
    assert made == other.of(words | dict(items) | who) == plain.of(dict(items))
    assert made == ("" if not fields else made)
    assert not fields or (len(made) == 16 and int(made, 16) >= 0)
    assert bool(made) == bool(fields)


@given(written, written)
def test_other_parameters_have_another_hash(one, other):
    hashes = ParamsHash()
    assert (hashes.of(one) == hashes.of(other)) == (one == other)


def test_the_hash_is_known_and_stays_the_same_from_release_to_release():
    fields = {"temperature": msgspec.Raw(b"0.5"), "max_tokens": msgspec.Raw(b"10")}
    import hashlib

    digest = hashlib.blake2b(b"max_tokens:10\ntemperature:0.5", digest_size=8).hexdigest()
    assert ParamsHash().of(fields) == digest


def test_the_memory_is_bounded_in_number_and_in_bytes():
    hashes = ParamsHash()
    for n in range(1000):
        hashes.of({"seed": msgspec.Raw(str(n).encode())})
        assert len(hashes._seen) <= 256
    before = dict(hashes._seen)
    hashes.of({"tools": msgspec.Raw(b'"' + b"x" * 10_000 + b'"')})
    assert hashes._seen == before
    assert hashes.of({"seed": msgspec.Raw(b"3")}) == ParamsHash().of({"seed": msgspec.Raw(b"3")})
