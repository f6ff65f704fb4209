"""The fake provider in process: faults as a correct provider reports them."""

import asyncio
import time

import msgspec
import pytest

from trimtab.providers import ProviderContext, make_provider
from trimtab.testing import FAULTS, FakeProvider, Pace, Scale, Script, Scripted
from trimtab.testing.provider import provider
from trimtab.types import ContentDelta, Deadlines, ProviderFault, ProviderSpec, Request
from trimtab.types.errors import ConfigError, FirstByteTimeout, IdleTimeout, ProviderError

QUICK = Deadlines(connect_s=0.02, first_byte_s=0.02, idle_s=0.02)


def request(*, stream=True, text="one two three", deadlines=QUICK):
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream}
    raw = {k: msgspec.Raw(msgspec.json.encode(v)) for k, v in body.items()}
    return Request(kind="chat", model="m", body=raw, stream=stream, deadlines=deadlines)


async def call(fake, asked):
    """Return (text seen, error code or empty, whether the head had come)."""
    text, head = "", False
    try:
        async with fake.open(asked) as reply:
            head = True
            if not asked.stream:
                return (
                    msgspec.json.decode((await reply.completion()).body)["choices"][0]["message"]["content"],
                    "",
                    head,
                )
            async for frame in reply.frames():
                for event in frame.events:
                    if isinstance(event, ProviderFault):
                        return text, "provider_stream_error", head
                    text += event.text if isinstance(event, ContentDelta) else ""
    except ProviderError as e:
        return text, e.code, head
    return text, "", head


CASES = [pytest.param(f, lane, id=f"{f.name}-{lane}") for f in FAULTS.values() for lane in f.lanes]


@pytest.mark.parametrize(("fault", "lane"), CASES)
@pytest.mark.parametrize("raw", [False, True])
def test_each_fault_is_reported_as_the_table_says(fault, lane, raw):
    fake = FakeProvider(fault=fault.name, raw=raw, scale=Scale(stall_s=5))
    text, code, head = asyncio.run(call(fake, request(stream=lane == "stream")))
    if not fault.expect:
        assert code == ""
        assert text.endswith("one two three")
        return
    assert code in fault.expect
    assert head == (fault.strikes not in ("connect", "before_head"))
    assert bool(text) == (fault.strikes == "after_content" and lane == "stream")
    assert fake.in_flight == 0
    second = asyncio.run(call(fake, request(stream=lane == "stream")))
    assert (second[1] == "") == (fault.times == 1)


def test_a_fault_that_cannot_show_in_a_lane_does_not_strike_there():
    fake = FakeProvider(fault="huge_line")
    assert asyncio.run(call(fake, request(stream=False))) == ("one two three", "", True)


@pytest.mark.parametrize(
    ("pace", "error"),
    [
        (Pace(before_head_s=60), FirstByteTimeout),
        (Pace(before_first_s=60), IdleTimeout),
        (Pace(between_s=60), IdleTimeout),
    ],
)
def test_deadlines_are_kept(pace, error):
    fake = FakeProvider(script=Scripted("one two", pace=pace))
    began = time.monotonic()
    assert asyncio.run(call(fake, request()))[1] == error.code
    assert time.monotonic() - began < 5


def test_events_are_the_same_with_and_without_bytes():
    async def events(raw):
        async with FakeProvider(raw=raw).open(request()) as reply:
            return [frame.events async for frame in reply.frames()]

    assert asyncio.run(events(raw=True)) == asyncio.run(events(raw=False))


def test_the_plugin_reads_its_options():
    spec = ProviderSpec(
        name="demo",
        kind="fake",
        models=("a", "b"),
        options={"replies": ["first", {"text": ["se", "cond"]}], "fault": "error_500_once", "raw": False},
    )
    fake = make_provider(spec, ProviderContext())
    assert isinstance(fake, FakeProvider)
    assert asyncio.run(fake.models()) == ["a", "b"]
    answers = [asyncio.run(call(fake, request())) for _ in range(3)]
    assert answers == [("", "provider_failed", False), ("second", "", True), ("one two three", "", True)]


@pytest.mark.parametrize("options", [{"fault": "no such"}, {"replies": 5}, {"unknown": 1}])
def test_bad_options_are_a_config_error_that_names_the_provider(options):
    with pytest.raises(ConfigError, match=r"providers\.demo\.options"):
        provider(ProviderSpec(name="demo", kind="fake", options=options), object())


def test_it_keeps_what_it_was_asked():
    fake = FakeProvider(script=Script(["a"]))
    asyncio.run(call(fake, request()))
    assert [r.model for r in fake.requests] == ["m"]
    asyncio.run(fake.aclose())
    assert fake.closed
