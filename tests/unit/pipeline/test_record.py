"""The two records of a call: when they are written, what stands in them, what happens when they cannot be."""

import asyncio
import hashlib

import msgspec
import pytest

from rigs.pipeline import QUICK, Desk, Events, ask, done
from trimtab.access import Caller
from trimtab.catalog import estimate_request_tokens, estimate_tokens
from trimtab.pipeline.stages import DONE
from trimtab.types import (
    Closed,
    Completion,
    ContentDelta,
    Done,
    Finish,
    Frame,
    Opened,
    ProviderFault,
    Release,
    RouteSpec,
    Started,
    Usage,
    UsageReport,
    WeightedRelease,
)
from trimtab.types.errors import (
    CallerError,
    ConnectFailed,
    FirstByteTimeout,
    LedgerUnavailable,
    ModelNotFound,
    StreamCut,
    StreamError,
)

STREAM = [
    Frame(b"", (Started("id-1", "m-1", "fp-1", 7),)),
    Frame(b"", (ContentDelta("Pa"),)),
    Frame(b"", (ContentDelta("ris"),)),
    Frame(b"", (Finish("stop"),)),
    Frame(b"", (UsageReport(Usage(3, 2)),)),
    Frame(b"", (Done(),)),
]
SILENT = [frame for frame in STREAM if not isinstance(frame.events[0], UsageReport)]


def run(desk: Desk, *, stream: bool = False, **more):
    return asyncio.run((desk.stream if stream else desk.whole)(**more))


# --- what stands in them ------------------------------------------------------------------------------------


def test_the_opened_record_holds_all_that_is_known_before_a_provider_is_asked():
    desk = Desk(Events(turns=[done()]))
    about = {
        "caller": Caller("key_1", "acme", "full"),
        "purpose": "replay",
        "session": "s-1",
        "user": "u-1",
        "tags": ("a", "b"),
        "client": "curl/8",
        "trace_parent": "00-1",
        "parent_call": "parent",
        "replay_of": "original",
    }
    run(desk, about=about, temperature=1)
    [opened] = desk.opened
    assert opened.opened_us == desk.clock.now_us()
    assert (opened.project, opened.key, opened.payload) == ("acme", "key_1", "full")
    assert (opened.purpose, opened.kind, opened.stream) == ("replay", "chat", False)
    assert (opened.session, opened.user, opened.tags) == ("s-1", "u-1", ("a", "b"))
    assert (opened.client, opened.trace_parent) == ("curl/8", "00-1")
    assert (opened.parent_call, opened.replay_of) == ("parent", "original")
    assert (opened.model_asked, opened.model) == ("p/m", "p/m")
    assert opened.release.startswith("rel_")
    assert len(opened.params_hash) == 16
    assert opened.request == ask(temperature=1).body, "as the caller wrote it, not as it was sent"
    assert desk.closed.id == opened.id


@pytest.mark.parametrize("policy", ["full", "hash", "none"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_payload_policy_of_the_caller_holds_for_both_records(policy, stream):
    desk = Desk(Events(turns=[STREAM if stream else done()]))
    run(desk, stream=stream, about={"caller": Caller("", "default", policy)})
    request, response = desk.opened[0].request, desk.closed.response
    if policy == "full":
        assert b"Hello there" in request
        assert b"Paris" in response
    elif policy == "hash":
        assert len(request) == len(response) == 32
        assert stream or response == hashlib.sha256(done().body).digest()
    else:
        assert request == response == b""
    assert desk.closed.usage == Usage(3, 2), "usage is no payload"


def test_a_stream_is_recorded_as_the_completion_it_would_have_been():
    desk = Desk(Events(turns=[STREAM]))
    run(desk, stream=True)
    closed = desk.closed
    assert desk.opened[0].stream
    reply = msgspec.json.decode(closed.response)
    assert reply["choices"][0]["message"]["content"] == "Paris"
    assert (closed.provider_response_id, closed.model_served, closed.fingerprint) == ("id-1", "m-1", "fp-1")
    assert (closed.finish_reason, closed.usage, closed.state) == ("stop", Usage(3, 2), "ok")
    assert closed.status == 200
    assert closed.error_code == closed.error_message == ""


# --- usage and cost -----------------------------------------------------------------------------------------

PRICES = {
    "format": 1,
    "version": "mine",
    "models": {"p/m": {"prices": [{"from": "2020-01-01", "input": "1", "output": "2"}]}},
}


def test_usage_is_priced_by_the_catalog_at_the_calls_time():
    desk = Desk(Events(turns=[done(usage=Usage(1000, 10))]), catalog=PRICES)
    run(desk)
    assert desk.closed.cost_nusd == 1000 * 1000 + 10 * 2000
    assert "mine" in desk.closed.price_version
    assert [counted[:2] for counted in desk.counts.finished] == [("answered", (1000, 10, 1_020_000))]


def test_a_model_without_a_price_costs_nothing_and_says_so_by_naming_no_price_table():
    desk = Desk(Events(turns=[done(usage=Usage(1000, 10))]))
    run(desk)
    assert (desk.closed.cost_nusd, desk.closed.price_version) == (0, "")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_usage_that_never_came_is_estimated_flagged_and_priced(stream):
    desk = Desk(Events(turns=[SILENT if stream else done(usage=None)]), catalog=PRICES)
    run(desk, stream=stream)
    usage = desk.closed.usage
    body = ask(stream=True).body if stream else ask().body
    assert usage.estimated
    assert usage.input_tokens == estimate_request_tokens(body) > 0
    assert usage.output_tokens == estimate_tokens("Paris") > 0
    assert desk.closed.cost_nusd == usage.input_tokens * 1000 + usage.output_tokens * 2000


def test_an_answer_without_text_is_estimated_to_have_used_its_input_alone():
    desk = Desk(Events(turns=[Completion(body=b"{}")]))
    run(desk)
    assert desk.closed.usage.estimated
    assert desk.closed.usage.input_tokens > 0
    assert desk.closed.usage.output_tokens == 0


@pytest.mark.parametrize("error", [ConnectFailed("down"), ModelNotFound("it serves another")])
def test_a_call_that_nobody_answered_used_nothing_and_is_not_an_estimate(error):
    desk = Desk(Events(turns=[error]), catalog=PRICES)
    with pytest.raises(type(error)):
        run(desk)
    assert desk.closed.usage == Usage()
    assert (desk.closed.cost_nusd, desk.closed.price_version) == (0, "")
    assert desk.closed.response == b""
    assert [counted[:2] for counted in desk.counts.finished] == [("errors", (0, 0, 0))]


TWO_PRICES = {
    "format": 1,
    "version": "t",
    "models": {
        "p/m": {"prices": [{"from": "2020-01-01", "input": "1", "output": "10"}]},
        "q/n": {"prices": [{"from": "2020-01-01", "input": "3", "output": "30"}]},
    },
}
FALLBACK = {
    "routes": (RouteSpec(name="r", channels={"production": (WeightedRelease(release="rel"),)}),),
    "releases": {"rel": Release(model="p/m", fallbacks=("q/n",))},
    "catalog": TWO_PRICES,
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("error", "billed"),
    [(FirstByteTimeout("late"), True), (StreamCut("cut"), True), (ConnectFailed("down"), False)],
    ids=["late", "cut", "down"],
)
def test_an_attempt_that_may_be_billed_costs_though_another_answered(error, billed, stream):
    policy = msgspec.structs.replace(QUICK, retry=msgspec.structs.replace(QUICK.retry, attempts=1))
    second = Events(name="q", turns=[STREAM if stream else done()])
    desk = Desk(Events(turns=[error]), second, policy=policy, **FALLBACK)
    run(desk, stream=stream, model="route/r")
    lost, won = desk.closed.attempts
    assert (won.usage, won.cost_nusd) == (None, 0)
    if billed:
        assert lost.usage == Usage(3, 0 if stream else 2, estimated=True)
        assert lost.cost_nusd == lost.usage.input_tokens * 1000 + lost.usage.output_tokens * 10_000
    else:
        assert (lost.usage, lost.cost_nusd) == (None, 0)
    assert desk.closed.cost_nusd == 3 * 3000 + 2 * 30_000 + lost.cost_nusd
    assert desk.closed.usage == Usage(3, 2)


def test_attempts_that_may_be_billed_cost_though_nobody_answered():
    policy = msgspec.structs.replace(QUICK, retry=msgspec.structs.replace(QUICK.retry, attempts=1))
    late, down = Events(turns=[FirstByteTimeout("late")]), Events(name="q", turns=[ConnectFailed("down")])
    desk = Desk(late, down, policy=policy, **FALLBACK)
    with pytest.raises(ConnectFailed):
        run(desk, model="route/r")
    lost, _ = desk.closed.attempts
    assert lost.usage is not None
    assert desk.closed.cost_nusd == lost.cost_nusd == lost.usage.input_tokens * 1000 > 0
    assert desk.closed.price_version.startswith("t-")


def test_a_stream_that_broke_after_content_is_estimated_from_what_came():
    desk = Desk(Events(turns=[[*SILENT[:3], StreamCut("cut")]]))
    with pytest.raises(StreamCut):
        run(desk, stream=True)
    closed = desk.closed
    assert (closed.state, closed.error_code, closed.status) == ("error", "stream_cut", 502)
    assert closed.usage.estimated
    assert closed.usage.output_tokens == estimate_tokens("Paris")
    assert b"Paris" in closed.response
    assert closed.finish_reason == ""


# --- order: recorded first, then said -----------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True], ids=["process", "power"])
def test_the_opened_record_is_written_before_a_provider_is_asked(waits):
    seen = []

    class Looking(Events):
        def open(self, request):
            seen.append([type(record) for record in desk.log.records])
            return super().open(request)

    desk = Desk(Looking(turns=[done()]), waits=waits)
    run(desk)
    assert seen == [[Opened]]
    assert desk.log.durable == (2 if waits else 0)


@pytest.mark.parametrize("waits", [False, True], ids=["process", "power"])
def test_the_closed_record_is_written_before_the_last_byte_is_handed_out(waits):
    desk = Desk(Events(turns=[STREAM]), waits=waits)

    async def main():
        async with desk.core.call(ask(stream=True)) as call:
            async for data in call.chunks():
                ended = any(isinstance(record, Closed) for record in desk.log.records)
                assert ended == (data == DONE)

    asyncio.run(main())
    assert desk.closed.state == "ok"


def test_a_whole_answer_is_handed_out_only_when_recorded():
    desk = Desk(Events(turns=[done()]))

    async def main():
        async with desk.core.call(ask()):
            assert desk.closed.state == "ok"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "error"),
    [({"model": ""}, CallerError), ({"model": "nobody/x"}, ModelNotFound), ({"user": 7}, CallerError)],
)
def test_a_request_at_fault_is_neither_recorded_nor_asked(body, error):
    provider = Events(turns=[done()])
    desk = Desk(provider, specs={"p": {"models": ("m",)}})
    with pytest.raises(error):
        run(desk, **body)
    assert desk.log.records == []
    assert provider.asked == []
    assert desk.counts.by_name["opened"] == 0


# --- a log that cannot be written ---------------------------------------------------------------------------


def on_failure(policy: str):
    return msgspec.structs.replace(QUICK, on_ledger_failure=policy)


def breaks(kind: type):
    return lambda record: isinstance(record, kind)


@pytest.mark.parametrize("waits", [False, True], ids=["process", "power"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_refuse_a_call_that_cannot_be_opened_is_not_made(stream, waits):
    provider = Events(turns=[STREAM if stream else done()])
    desk = Desk(provider, policy=on_failure("refuse"), waits=waits)
    desk.log.broken = breaks(Opened)
    with pytest.raises(LedgerUnavailable):
        run(desk, stream=stream)
    assert provider.asked == []
    assert desk.counts.by_name["unrecorded_opened"] == 1
    assert desk.counts.by_name["opened"] == 0


@pytest.mark.parametrize("waits", [False, True], ids=["process", "power"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_refuse_an_answer_that_cannot_be_recorded_is_not_handed_out_as_complete(stream, waits):
    desk = Desk(Events(turns=[STREAM if stream else done()]), policy=on_failure("refuse"), waits=waits)
    desk.log.broken = breaks(Closed)
    said = []

    async def main():
        async with desk.core.call(ask(stream=stream)) as call:
            async for data in call.chunks():
                said.append(data)

    with pytest.raises(LedgerUnavailable):
        asyncio.run(main())
    if stream:
        error = msgspec.json.decode(said[-1].removeprefix(b"data: "))["error"]
        assert error["code"] == "ledger_unavailable"
        assert DONE not in said
    else:
        assert said == []
    assert desk.counts.by_name["unrecorded_closed"] == 1
    assert desk.providers["p"].open_now == 0


@pytest.mark.parametrize("waits", [False, True], ids=["process", "power"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_serve_a_call_goes_on_unrecorded_and_is_counted(stream, waits):
    desk = Desk(Events(turns=[STREAM if stream else done()]), policy=on_failure("serve"), waits=waits)
    desk.log.broken = lambda record: True
    written = run(desk, stream=stream)
    assert b"Pa" in written
    assert not stream or written.endswith(DONE)
    assert desk.log.records == []
    assert desk.counts.by_name["unrecorded_opened"] == 1
    assert desk.counts.by_name["unrecorded_closed"] == 1
    assert [outcome for outcome, _, _ in desk.counts.finished] == ["answered"]


def test_an_error_that_cannot_be_recorded_stays_the_error_it_was():
    desk = Desk(Events(turns=[ConnectFailed("down")]), policy=on_failure("refuse"))
    desk.log.broken = breaks(Closed)
    with pytest.raises(ConnectFailed):
        run(desk)
    assert desk.counts.by_name["unrecorded_closed"] == 1


def test_a_new_snapshot_changes_what_happens_then():
    from trimtab.pipeline import State

    desk = Desk(Events(turns=[done()]), policy=on_failure("refuse"))
    desk.log.broken = breaks(Opened)
    relaxed = msgspec.structs.replace(desk.snapshot, generation=2, policy=on_failure("serve"))

    async def main():
        with pytest.raises(LedgerUnavailable):
            await desk.whole()
        desk.core.swap(State(relaxed, desk.make, desk.core.state))
        assert b"Paris" in await desk.whole()

    asyncio.run(main())


# --- streams that break after content -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ([StreamCut("cut")], StreamCut),
        ([ConnectFailed("x")], ConnectFailed),
        ([], StreamCut),
        ([Frame(b"", (ProviderFault("overloaded", "x"),))], StreamError),
    ],
)
def test_a_stream_that_breaks_after_content_ends_in_an_error_event_and_no_end_marker(end, error):
    provider = Events(turns=[[*STREAM[:3], *end]])
    desk = Desk(provider)
    said = []

    async def main():
        async with desk.core.call(ask(stream=True)) as call:
            async for data in call.chunks():
                said.append(data)

    with pytest.raises(error):
        asyncio.run(main())
    assert b"Paris" not in b"".join(said)
    assert b"".join(said).count(b'"content"') == 2
    last = msgspec.json.decode(said[-1].removeprefix(b"data: "))["error"]
    assert (last["code"], last["type"]) == (error.code, error.kind)
    assert DONE not in said
    assert len(provider.asked) == 1, "nothing is repeated once the client has content"
    assert desk.closed.error_code == error.code
    assert provider.open_now == 0


@pytest.mark.parametrize("raw", [b"", b"data: {}\n\n"])
def test_a_last_frame_may_say_more_than_that_it_is_the_last(raw):
    frames = [*STREAM[:2], Frame(b"", (ContentDelta("ris"), Finish("stop"), Done()))]
    desk = Desk(Events(turns=[frames]))
    written = run(desk, stream=True)
    assert b'"ris"' in written
    assert b'"stop"' in written
    assert written.endswith(DONE)


@pytest.mark.parametrize("frames", [1, 2])
def test_an_answer_in_a_single_frame_is_whole_and_ends_once(frames):
    events = tuple(event for frame in STREAM for event in frame.events)
    turn = [Frame(b"", events)] if frames == 1 else [Frame(b"", events[:1]), Frame(b"", events[1:])]
    desk = Desk(Events(turns=[turn]))
    written = run(desk, stream=True)
    assert written.count(DONE) == 1
    assert written.endswith(DONE)
    assert written.count(b'"content"') == 2
    assert desk.closed.usage == Usage(3, 2)


def test_a_client_that_leaves_in_the_middle_is_recorded_as_gone_and_the_provider_let_go():
    provider = Events(turns=[[*STREAM[:2], 30]])
    desk = Desk(provider)

    async def main():
        async with desk.core.call(ask(stream=True)) as call:
            async for _ in call.chunks():
                break

    asyncio.run(main())
    assert provider.open_now == 0
    closed = desk.closed
    assert (closed.state, closed.error_code, closed.status) == ("cancelled", "client_cancelled", 499)
    assert closed.usage.estimated
    assert closed.usage.output_tokens == estimate_tokens("Pa")


def test_a_client_whose_going_is_reported_stops_the_call():
    provider = Events(turns=[done()], before_head_s=30)
    desk = Desk(provider)

    async def gone():
        while not provider.open_now:
            await asyncio.sleep(0.005)

    from trimtab.types.errors import ClientGone

    with pytest.raises(ClientGone):
        run(desk, about={"gone": gone})
    assert provider.open_now == 0
    assert desk.closed.state == "cancelled"


def test_an_error_of_ours_is_recorded_without_its_words():
    desk = Desk(Events(turns=[RuntimeError("a secret")]))
    with pytest.raises(RuntimeError):
        run(desk)
    closed = desk.closed
    assert (closed.state, closed.error_code, closed.status) == ("error", "internal_error", 500)
    assert "RuntimeError" in closed.error_message
    assert "secret" not in closed.error_message
    assert desk.target("p/m").in_flight == 0


def test_latency_is_counted_from_opening_to_closing():
    class Slow(Events):
        def open(self, request):
            desk.clock.advance(1.5)
            return super().open(request)

    desk = Desk(Slow(turns=[done()]))
    run(desk)
    [(outcome, usage, ms)] = desk.counts.finished
    assert (outcome, usage) == ("answered", (3, 2, 0))
    assert 1500 <= ms < 30_000
    assert round(ms * 1000) == desk.closed.closed_us - desk.opened[0].opened_us
