"""Asking until one answers: retries, pauses, targets in turn, fallbacks in order, deadlines."""

import asyncio
import random
import time

import msgspec
import pytest

from rigs.pipeline import QUICK, Desk, Events, done
from trimtab.types import (
    Completion,
    ContentDelta,
    Deadlines,
    Done,
    Finish,
    Frame,
    ProviderFault,
    Release,
    ReplyHead,
    RetryPolicy,
    RouteSpec,
    Started,
    TargetSpec,
    Usage,
    UsageReport,
    WeightedRelease,
)
from trimtab.types.errors import (
    ConnectFailed,
    EmptyReply,
    FirstByteTimeout,
    IdleTimeout,
    OwnModelUnavailable,
    ProviderAuthFailed,
    ProviderRejected,
    ProviderUnavailable,
    RateLimited,
    StreamCut,
    StreamError,
    TlsFailed,
    TotalTimeout,
)

DOWN = ConnectFailed("no connection")
BROKEN_KEY = ProviderAuthFailed("refused")
BAD_REQUEST = ProviderRejected("no", status=400, body=b"{}")
STREAM = [
    Frame(b"", (Started("id-1", "m-1"),)),
    Frame(b"", (ContentDelta("Paris"),)),
    Frame(b"", (Finish("stop"),)),
    Frame(b"", (UsageReport(Usage(3, 2)),)),
    Frame(b"", (Done(),)),
]


def policy(**retry):
    return msgspec.structs.replace(QUICK, retry=msgspec.structs.replace(QUICK.retry, **retry))


def deadlines(**limits):
    return msgspec.structs.replace(QUICK, deadlines=Deadlines(**{"total_s": 5, **limits}))


def routed(*fallbacks: str, **parameters) -> dict:
    """A route `route/r` over `p/m` with these fallbacks."""
    release = Release(model="p/m", fallbacks=fallbacks, parameters=parameters)
    return {
        "routes": (RouteSpec(name="r", channels={"production": (WeightedRelease(release="rel"),)}),),
        "releases": {"rel": release},
    }


def run(desk: Desk, model: str = "p/m", *, stream: bool = False, **more):
    return asyncio.run((desk.stream if stream else desk.whole)(model, **more))


def codes(desk: Desk) -> list[tuple[str, str, int]]:
    return [(a.target, a.error_code, a.status) for a in desk.closed.attempts]


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """The pauses between attempts, taken without waiting."""
    taken: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds:
            taken.append(seconds)
        await real(0)

    monkeypatch.setattr("trimtab.pipeline.attempts.walk.asyncio.sleep", sleep)
    return taken


# --- one target ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_at_once_is_one_attempt(stream):
    provider = Events(turns=[STREAM if stream else done()])
    desk = Desk(provider)
    assert b"Paris" in run(desk, stream=stream)
    assert codes(desk) == [("p/m", "", 200)]
    assert desk.counts.by_name["upstream_attempts"] == 1
    assert desk.counts.by_name["retries"] == desk.counts.by_name["fallbacks"] == 0
    assert provider.open_now == 0
    assert desk.target("p/m").in_flight == 0
    [request] = provider.asked
    assert (request.kind, request.model, request.stream) == ("chat", "m", stream)
    assert request.body["model"] == msgspec.Raw(b'"m"')
    assert request.deadlines == QUICK.deadlines
    assert request.call_id == desk.opened[0].id


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("error", [DOWN, ProviderUnavailable("503"), EmptyReply("none")])
def test_a_passing_error_is_tried_again_at_the_same_target(stream, error, pauses):
    provider = Events(turns=[error, STREAM if stream else done()])
    desk = Desk(provider)
    assert b"Paris" in run(desk, stream=stream)
    assert codes(desk) == [("p/m", error.code, error.status), ("p/m", "", 200)]
    assert desk.counts.by_name["retries"] == 1
    assert desk.counts.by_name["upstream_attempts"] == 2
    assert desk.closed.state == "ok"
    assert desk.target("p/m").health.failed == 1
    assert len(pauses) == 1


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_a_target_gets_as_many_tries_as_the_policy_says(attempts, pauses):
    desk = Desk(Events(turns=[DOWN]), policy=policy(attempts=attempts))
    with pytest.raises(ConnectFailed):
        run(desk)
    assert len(codes(desk)) == attempts
    assert len(pauses) == attempts - 1
    assert desk.counts.by_name["retries"] == attempts - 1
    assert desk.target("p/m").health.failed == attempts
    assert desk.target("p/m").in_flight == 0
    assert desk.closed.error_code == "provider_unreachable"


@pytest.mark.parametrize("error", [BAD_REQUEST, BROKEN_KEY, TlsFailed("handshake")])
def test_an_error_that_would_come_again_is_not_tried_again(error, pauses):
    desk = Desk(Events(turns=[error]))
    with pytest.raises(type(error)):
        run(desk)
    assert codes(desk) == [("p/m", error.code, error.status)]
    assert pauses == []


def test_pauses_double_with_full_jitter_up_to_the_limit(pauses, monkeypatch):
    spans = []

    def uniform(low: float, high: float) -> float:
        spans.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", uniform)
    desk = Desk(Events(turns=[DOWN]), policy=policy(attempts=4, backoff_s=0.1, backoff_max_s=0.2))
    with pytest.raises(ConnectFailed):
        run(desk)
    expected = [0.1, 0.2, 0.2]
    assert [low for low, _ in spans] == [0] * 3
    assert [high for _, high in spans] == pytest.approx(expected)
    assert pauses == pytest.approx(expected)


def test_a_retry_after_within_the_limit_is_waited_for(pauses):
    provider = Events(turns=[RateLimited("slow down", retry_after_s=0.15), done()])
    desk = Desk(provider)
    run(desk)
    assert pauses == [pytest.approx(0.15)]


def test_a_retry_after_never_shortens_the_pause(pauses, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    desk = Desk(
        Events(turns=[RateLimited("slow down", retry_after_s=0.0), done()]),
        policy=policy(backoff_s=0.1, backoff_max_s=1),
    )
    run(desk)
    assert pauses == [0.1]


@pytest.mark.parametrize(("asked_s", "tries"), [(0.2, 2), (0.21, 1)])
def test_a_retry_after_over_the_limit_ends_the_target_at_once(asked_s, tries, pauses):
    desk = Desk(Events(turns=[RateLimited("slow down", retry_after_s=asked_s), done()]))
    if tries == 1:
        with pytest.raises(RateLimited):
            run(desk)
    else:
        run(desk)
    assert len(codes(desk)) == tries


def test_a_pause_that_would_outlast_the_call_is_not_begun(pauses):
    desk = Desk(
        Events(turns=[RateLimited("slow down", retry_after_s=3.0), done()]),
        policy=msgspec.structs.replace(
            deadlines(total_s=2), retry=RetryPolicy(attempts=3, retry_after_max_s=60)
        ),
    )
    with pytest.raises(RateLimited):
        run(desk)
    assert pauses == []


# --- several targets ----------------------------------------------------------------------------------------

PAIR = {"big/m": (TargetSpec(provider="p", model="m1"), TargetSpec(provider="q", model="m2"))}


def pair(first, second, **more) -> Desk:
    return Desk(Events(name="p", turns=first), Events(name="q", turns=second), targets=PAIR, **more)


def test_another_target_is_tried_at_once_without_a_pause(pauses):
    desk = pair([DOWN], [done()])
    run(desk, "big/m")
    assert codes(desk) == [("p/m1", "provider_unreachable", 502), ("q/m2", "", 200)]
    assert pauses == []
    assert desk.closed.model == "q/m2"
    assert desk.closed.provider == "q"
    assert desk.counts.by_name["retries"] == 1
    assert desk.counts.by_name["fallbacks"] == 0
    assert (desk.target("p/m1").health.failed, desk.target("q/m2").health.failed) == (1, 0)


def test_each_target_is_asked_under_its_own_model_name():
    desk = pair([DOWN], [done()])
    run(desk, "big/m")
    for name, model in (("p", "m1"), ("q", "m2")):
        [request] = desk.providers[name].asked
        assert request.model == model
        assert msgspec.json.decode(request.body["model"]) == model


def test_failing_targets_take_turns_and_the_tries_are_counted_for_each(pauses):
    desk = pair([DOWN], [ProviderUnavailable("503")])
    with pytest.raises((ConnectFailed, ProviderUnavailable)):
        run(desk, "big/m")
    assert [target for target, _, _ in codes(desk)] == ["p/m1", "q/m2", "p/m1", "q/m2"]
    assert len(pauses) == 2, "a target that has just failed is not asked again at once, others or not"


def test_a_target_with_a_lasting_fault_is_left_out_and_the_other_is_retried(pauses):
    desk = pair([BROKEN_KEY], [DOWN, done()])
    run(desk, "big/m")
    assert [target for target, _, _ in codes(desk)] == ["p/m1", "q/m2", "q/m2"]
    assert len(pauses) == 1


def test_when_every_target_has_a_lasting_fault_the_last_error_comes_out(pauses):
    desk = pair([BROKEN_KEY], [TlsFailed("handshake")])
    with pytest.raises(TlsFailed):
        run(desk, "big/m")
    assert len(codes(desk)) == 2


def test_the_callers_own_fault_is_not_carried_to_another_target():
    desk = pair([BAD_REQUEST], [done()])
    with pytest.raises(ProviderRejected):
        run(desk, "big/m")
    assert len(codes(desk)) == 1
    assert desk.providers["q"].asked == []


def test_a_model_missing_at_one_target_is_looked_for_at_the_other():
    desk = pair([ProviderRejected("no such model", status=404)], [done()])
    run(desk, "big/m")
    assert codes(desk)[0] == ("p/m1", "provider_rejected", 404)


def test_calls_under_way_spread_over_the_targets():
    desk = pair([[0.05, done()]], [[0.05, done()]])

    async def main():
        await asyncio.gather(*(desk.whole("big/m") for _ in range(10)))

    asyncio.run(main())
    assert len(desk.providers["p"].asked) == len(desk.providers["q"].asked) == 5
    assert desk.target("p/m1").in_flight == desk.target("q/m2").in_flight == 0


# --- fallbacks ----------------------------------------------------------------------------------------------


def fallback_desk(first, second, third=None, **more) -> Desk:
    providers = [Events(name="p", turns=first), Events(name="q", turns=second)]
    names = ["q/n"]
    if third is not None:
        providers.append(Events(name="s", turns=third))
        names.append("s/o")
    return Desk(*providers, **routed(*names), **more)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_fallbacks_are_tried_in_order_after_the_model_is_given_up(stream, pauses):
    good = STREAM if stream else done()
    desk = fallback_desk([DOWN], [BROKEN_KEY], [good])
    assert b"Paris" in run(desk, "route/r", stream=stream)
    assert [target for target, _, _ in codes(desk)] == ["p/m", "p/m", "q/n", "s/o"]
    assert desk.counts.by_name["fallbacks"] == 2
    assert desk.closed.model == "s/o"
    assert desk.opened[0].model == "p/m"
    assert desk.opened[0].route == "r"
    assert not desk.closed.degraded


def test_a_fallback_that_fails_too_gives_its_own_error(pauses):
    desk = fallback_desk([DOWN], [ProviderUnavailable("503")])
    with pytest.raises(ProviderUnavailable):
        run(desk, "route/r")
    assert [target for target, _, _ in codes(desk)] == ["p/m", "p/m", "q/n", "q/n"]
    assert desk.counts.by_name["fallbacks"] == 1
    assert desk.closed.error_code == "provider_unavailable"


def test_no_fallback_answers_what_the_caller_did_wrong():
    desk = fallback_desk([BAD_REQUEST], [done()])
    with pytest.raises(ProviderRejected):
        run(desk, "route/r")
    assert desk.providers["q"].asked == []
    assert desk.counts.by_name["fallbacks"] == 0


def test_a_long_retry_after_goes_to_the_fallback_at_once(pauses):
    desk = fallback_desk([RateLimited("later", retry_after_s=30)], [done()])
    run(desk, "route/r")
    assert [target for target, _, _ in codes(desk)] == ["p/m", "q/n"]
    assert pauses == []


@pytest.mark.parametrize(
    ("degraded_mode", "model", "degraded"),
    [(True, "route/r", True), (False, "route/r", False), (True, "q/n", False)],
)
def test_a_stand_in_of_lesser_quality_is_named_one(degraded_mode, model, degraded, pauses):
    desk = Desk(
        Events(name="p", turns=[OwnModelUnavailable("down")]),
        Events(name="q", turns=[done()], degraded_mode=degraded_mode),
        **routed("q/n"),
    )
    run(desk, model)
    assert desk.closed.degraded is degraded


def test_the_default_model_of_a_lesser_provider_is_named_degraded():
    provider = Events(turns=[done()], degraded_mode=True)
    desk = Desk(provider, specs={"p": {"models": ("m",)}}, default_model="p/m")
    run(desk, "gpt-4o")
    assert desk.closed.degraded
    assert desk.opened[0].model_asked == "gpt-4o"
    assert desk.opened[0].model == "p/m"


def test_the_releases_parameters_are_defaults_that_the_caller_overrides():
    provider = Events(turns=[done()])
    desk = Desk(provider, **routed(temperature=0.5, seed=7))
    run(desk, "route/r", temperature=1)
    [request] = provider.asked
    assert msgspec.json.decode(request.body["temperature"]) == 1
    assert msgspec.json.decode(request.body["seed"]) == 7


# --- streams before their first content ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beginning", "error"),
    [
        ([StreamCut("cut")], StreamCut),
        ([STREAM[0], StreamCut("cut")], StreamCut),
        ([STREAM[0]], StreamCut),
        ([], StreamCut),
        ([STREAM[0], Frame(b"", (ProviderFault("overloaded", "x"),))], StreamError),
        ([STREAM[0], Frame(b"", (UsageReport(Usage(1, 1)),)), Frame(b"", (Done(),))], EmptyReply),
        ([Frame(b"", (Done(),))], EmptyReply),
    ],
)
def test_a_stream_that_breaks_before_its_first_content_is_taken_over_unseen(beginning, error, pauses):
    desk = Desk(Events(turns=[beginning, STREAM]))
    written = run(desk, stream=True)
    assert written.count(b"Paris") == 1
    assert written.endswith(b"data: [DONE]\n\n")
    assert b"error" not in written
    assert [code for _, code, _ in codes(desk)] == [error.code, ""]
    assert desk.closed.finish_reason == "stop"
    assert desk.closed.usage == Usage(3, 2)


def test_a_reported_fault_is_quoted():
    desk = Desk(
        Events(turns=[[Frame(b"", (ProviderFault("engine overloaded"),))]]), policy=policy(attempts=1)
    )
    with pytest.raises(StreamError, match="engine overloaded"):
        run(desk, stream=True)


def test_a_stream_that_only_finishes_is_an_answer():
    desk = Desk(Events(turns=[[Frame(b"", (Finish("content_filter"),)), Frame(b"", (Done(),))]]))
    assert b"content_filter" in run(desk, stream=True)
    assert desk.closed.finish_reason == "content_filter"
    assert len(codes(desk)) == 1


# --- deadlines ----------------------------------------------------------------------------------------------


def test_a_head_that_does_not_come_is_a_first_byte_timeout_and_is_tried_again():
    provider = Events(turns=[done()], before_head_s=30)
    desk = Desk(provider, policy=deadlines(first_byte_s=0.05))
    with pytest.raises(FirstByteTimeout, match=r"p/m .* 0\.05 s"):
        run(desk)
    assert [code for _, code, _ in codes(desk)] == ["first_byte_timeout"] * 3 or len(codes(desk)) >= 2
    assert provider.open_now == 0
    assert all(a.took_us >= 45_000 for a in desk.closed.attempts)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_body_that_pauses_is_an_idle_timeout(stream):
    turn = [STREAM[0], 30, *STREAM[1:]] if stream else [30, done()]
    provider = Events(turns=[turn])
    desk = Desk(provider, policy=deadlines(idle_s=0.05))
    with pytest.raises(IdleTimeout, match=r"p/m .* 0\.05 s"):
        run(desk, stream=stream)
    assert {code for _, code, _ in codes(desk)} == {"idle_timeout"}
    assert provider.open_now == 0


def test_a_slow_body_that_keeps_coming_is_no_idle_timeout():
    ticks = iter(range(10**6))
    provider = Events(turns=[[0.3, done()]], received=lambda: next(ticks))
    desk = Desk(provider, policy=deadlines(idle_s=0.05))
    assert b"Paris" in run(desk)
    assert len(codes(desk)) == 1


def test_the_total_deadline_ends_the_call_with_all_its_retries():
    provider = Events(turns=[done()], before_head_s=30)
    desk = Desk(provider, **routed("p/n"), policy=deadlines(first_byte_s=20, total_s=0.1))
    with pytest.raises(TotalTimeout, match=r"0\.1 s"):
        run(desk, "route/r")
    assert [code for _, code, _ in codes(desk)] == ["total_timeout"], "no fallback after the end"
    assert desk.closed.error_code == "total_timeout"
    assert provider.open_now == 0


def test_the_total_deadline_holds_during_a_pause_too():
    desk = Desk(
        Events(turns=[DOWN]),
        policy=msgspec.structs.replace(
            deadlines(total_s=0.3), retry=RetryPolicy(attempts=100, backoff_s=0.05, backoff_max_s=0.05)
        ),
    )
    began = asyncio.run(_timed(desk))
    assert began < 1
    assert desk.closed.error_code in ("total_timeout", "provider_unreachable")


async def _timed(desk: Desk) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises((TotalTimeout, ConnectFailed)):
        await desk.whole()
    return loop.time() - began


def test_a_providers_own_deadlines_win_over_the_policys():
    provider = Events(turns=[done()])
    desk = Desk(provider, specs={"p": {"deadlines": Deadlines(first_byte_s=7)}})
    run(desk)
    assert provider.asked[0].deadlines.first_byte_s == 7


def test_a_cancelled_call_closes_its_provider_and_is_recorded_as_cancelled():
    provider = Events(turns=[done()], before_head_s=30)
    desk = Desk(provider)

    async def main():
        async with asyncio.TaskGroup() as group:
            task = group.create_task(desk.whole())
            while not provider.open_now:
                await asyncio.sleep(0)
            task.cancel()
        assert task.cancelled()

    asyncio.run(main())
    assert provider.open_now == 0
    assert desk.target("p/m").in_flight == 0
    assert desk.closed.state == "cancelled"
    assert desk.closed.error_code == "client_cancelled"
    assert desk.closed.status == 499
    assert codes(desk) == [("p/m", "", 200)], "the attempt was not at fault"


# --- what is kept of a reply --------------------------------------------------------------------------------


def test_the_outcome_is_the_replys():
    head = ReplyHead(request_id="req-9", headers=(("x-ratelimit-remaining-requests", "7"),))
    answer = Completion(
        body=b"{}",
        response_id="id-9",
        model="m-2024",
        fingerprint="fp-9",
        finish_reason="length",
        usage=Usage(5, 6),
    )
    desk = Desk(Events(turns=[answer], head=head))

    async def main():
        from rigs.pipeline import ask

        async with desk.core.call(ask()) as call:
            assert call.body == b"{}"
            return call.reply_headers

    assert asyncio.run(main()) == head.headers
    closed = desk.closed
    assert closed.provider_request_id == "req-9"
    assert (closed.provider_response_id, closed.model_served) == ("id-9", "m-2024")
    assert (closed.fingerprint, closed.finish_reason, closed.usage) == ("fp-9", "length", Usage(5, 6))
    assert closed.response == b"{}"
    assert closed.first_byte_us >= 0
    assert closed.attempts[0].took_us >= 0


def test_offsets_of_attempts_grow_and_cover_the_call():
    desk = Desk(Events(turns=[DOWN, [0.05, done()]]), policy=policy(backoff_s=0.02, backoff_max_s=0.02))
    run(desk)
    first, second = desk.closed.attempts
    assert first.started_us >= 0
    assert second.started_us >= first.started_us + first.took_us
    assert second.took_us >= 45_000
    assert desk.closed.first_byte_us >= second.started_us + 45_000


def test_a_fallback_that_is_left_alone_is_asked_once_where_nothing_else_answers(pauses):
    desk = fallback_desk([DOWN], [done()])
    breaker = desk.core.state._targets["q/n"].health.breaker
    breaker._open(time.monotonic(), 1)
    assert not breaker.closed
    assert b"Paris" in run(desk, "route/r")
    assert [target for target, _, _ in codes(desk)] == ["p/m", "p/m", "q/n"]
    assert desk.closed.state == "ok"


def test_a_process_that_stands_still_calls_no_target_slow():
    """Four calls in a row that take longer than slow would open the breaker: here the time was this process's own."""
    answered = Events(turns=[*([done()] * 40), [0.01, done()]])
    desk = Desk(answered)

    async def main():
        for _ in range(40):
            await desk.whole()
        assert desk.target("p/m").health.lanes[0].slow_s < 0.2
        calls = [asyncio.create_task(desk.whole()) for _ in range(8)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.4)  # this process stands still
        await asyncio.gather(*calls)

    asyncio.run(main())
    assert desk.target("p/m").health.breaker.closed
    assert desk.target("p/m").health.breaker.share() == 0


def test_one_hiccup_of_a_target_opens_nothing_and_lasting_slowness_does():
    answered = Events(turns=[*([done()] * 40), [0.3, done()]])
    desk = Desk(answered)

    async def main():
        for _ in range(40):
            await desk.whole()
        breaker = desk.target("p/m").health.breaker
        await asyncio.gather(*(desk.whole() for _ in range(20)))
        assert breaker.closed, "all were late at once"
        await asyncio.gather(*(later(n * 0.12) for n in range(5)))
        assert not breaker.closed

    async def later(after_s):
        await asyncio.sleep(after_s)
        await desk.whole()

    asyncio.run(main())
