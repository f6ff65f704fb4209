"""Replies that are given again: to whom, how long, and what the books say of them."""

import asyncio
import random

import msgspec
import pytest

from rigs.pipeline import Desk, Events, MemoryReplies, ask, done
from trimtab.access import Caller
from trimtab.pipeline.ask import ParamsHash, parse
from trimtab.pipeline.cache import Slot, reply_key, ttl_s
from trimtab.pipeline.record import Outcome
from trimtab.types import (
    Closed,
    Completion,
    ContentDelta,
    Done,
    Finish,
    Frame,
    Release,
    RouteSpec,
    Started,
    Usage,
    UsageReport,
    WeightedRelease,
)
from trimtab.types.errors import ProviderUnavailable

RELEASE = Release(model="p/m")
MINUTE = 60.0


def desk(*turns, ttl_s=MINUTE, parameters=None, **more):
    release = Release(model="p/m", parameters=parameters or {})
    route = RouteSpec(
        name="r",
        channels={"production": (WeightedRelease(release=release.id()),)},
        cache_ttl_s=ttl_s,
    )
    return Desk(
        Events(turns=list(turns)),
        cache=MemoryReplies(),
        routes=(route,),
        releases={release.id(): release},
        **more,
    )


def by(key, **more):
    return {"about": {"caller": Caller(key=key, **more)}}


def whole(desk, model="route/r", **more):
    desk.core._sweeper = None  # a core has one loop for life; here each call has its own
    return asyncio.run(desk.whole(model, **more))


def closings(desk):
    return [record for record in desk.log.records if isinstance(record, Closed)]


def good(text="Paris"):
    return done(text, finish_reason="stop", response_id="resp-1", model="m-2026")


def test_the_same_request_is_answered_again_and_billed_once():
    place = desk(good("one"), good("two"))
    assert whole(place) == whole(place) == good("one").body
    first, second = closings(place)
    assert not first.cache_hit
    assert first.usage == Usage(3, 2)
    assert second.cache_hit
    assert second.usage == Usage()
    assert second.cost_nusd == 0
    assert second.attempts == ()
    assert (second.model, second.provider, second.provider_response_id) == ("p/m", "p", "resp-1")
    assert (second.model_served, second.finish_reason) == ("m-2026", "stop")
    assert second.response == first.response
    assert place.counts.by_name["cache_hits"] == 1
    assert place.counts.by_name["upstream_attempts"] == 1
    assert [outcome for outcome, _, _ in place.counts.finished] == ["answered", "answered"]


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [{"role": "user", "content": "Hello  there"}]},
        {"messages": [{"role": "system", "content": "Hello there"}]},
        {"temperature": 0.1},
        {"seed": 1},
        {"n": 2},
        {"tools": []},
        {"response_format": {"type": "json_object"}},
        {"unknown_field": None},
        by("key_2"),
        by("key_1", project="other"),
    ],
)
def test_another_request_is_another_reply(other):
    place = desk(good("one"), good("two"))
    assert whole(place, **by("key_1")) == good("one").body
    assert whole(place, **{**by("key_1"), **other}) == good("two").body


@pytest.mark.parametrize(
    "same", [{"user": "u2"}, {"metadata": {"a": "b"}}, {"stream": False}, {"store": True}]
)
def test_what_the_answer_does_not_depend_on_is_left_out(same):
    place = desk(good("one"), good("two"))
    whole(place)
    assert whole(place, **same) == good("one").body


def test_members_of_an_object_may_stand_in_any_order():
    place = desk(good("one"), good("two"))
    whole(place, messages=[{"role": "user", "content": "x"}], temperature=0)
    assert whole(place, temperature=0, messages=[{"content": "x", "role": "user"}]) == good("one").body


def test_a_route_s_parameters_count_as_the_caller_s_own():
    warm = desk(good("one"), good("two"), parameters={"temperature": 1})
    whole(warm)
    assert whole(warm, temperature=1) == good("one").body
    assert whole(warm, temperature=0) == good("two").body


def test_it_expires():
    place = desk(good("one"), good("two"))
    whole(place)
    place.clock.advance(MINUTE - 1)
    assert whole(place) == good("one").body
    place.clock.advance(1.5)
    assert whole(place) == good("two").body


@pytest.mark.parametrize(
    ("route_s", "key_s", "hits"), [(0, None, 0), (60, None, 1), (60, 0, 0), (0, 60, 1), (60, 60, 1)]
)
def test_the_key_s_word_goes_before_the_route_s(route_s, key_s, hits):
    place = desk(good("one"), good("two"), ttl_s=route_s)
    for _ in range(2):
        whole(place, **by("k", cache_ttl_s=key_s))
    assert place.counts.by_name["cache_hits"] == hits


def test_a_time_that_was_shortened_holds_for_what_is_kept_already():
    site = desk(done("old", finish_reason="stop"), done("new", finish_reason="stop"))

    async def run():
        await site.whole("route/r", about={"caller": Caller("k", cache_ttl_s=3600)})
        site.clock.advance(61)
        short = await site.whole("route/r", about={"caller": Caller("k", cache_ttl_s=60)})
        long = await site.whole("route/r", about={"caller": Caller("k", cache_ttl_s=3600)})
        return short, long

    assert asyncio.run(run()) == (b'{"text":"new"}', b'{"text":"new"}')


def test_a_bare_model_has_a_cache_by_its_key_alone():
    place = desk(good("one"), good("two"))
    assert whole(place, "p/m") != whole(place, "p/m")
    mine = by("k", cache_ttl_s=9)
    place = desk(good("one"), good("two"))
    assert whole(place, "p/m", **mine) == whole(place, "p/m", **mine)


@pytest.mark.parametrize("policy", ["masked", "hash", "none"])
def test_words_that_are_not_to_be_kept_are_not_kept(policy):
    place = desk(good("one"), good("two"))
    if policy == "masked":
        place.core._keep = {**place.core._keep, "masked": bytes}
    for _ in range(2):
        whole(place, **by("k", payload=policy))
    assert place.counts.by_name["cache_hits"] == 0
    assert not place.core.cache


def test_no_cache_asks_anew_and_keeps_the_answer():
    place = desk(good("one"), good("two"), good("three"))
    whole(place)
    assert whole(place, about={"caller": Caller(), "cache": "no-cache"}) == good("two").body
    assert whole(place) == good("two").body


def test_no_store_neither_reads_nor_keeps():
    place = desk(good("one"), good("two"), good("three"))
    whole(place)
    assert whole(place, about={"caller": Caller(), "cache": "no-store"}) == good("two").body
    assert whole(place) == good("one").body


@pytest.mark.parametrize(
    "bad",
    [
        done("cut off", finish_reason="content_filter"),
        done("no end", finish_reason=""),
        ProviderUnavailable("down"),
        done("too long" + "x" * 1_100_000, finish_reason="stop"),
    ],
)
def test_only_a_good_whole_answer_is_kept(bad):
    place = desk(bad, bad, good("later"))
    for _ in range(2 if isinstance(bad, Completion) else 1):
        try:
            whole(place)
        except ProviderUnavailable:
            continue
    assert not place.core.cache
    assert place.counts.by_name["cache_hits"] == 0


def test_embeddings_are_kept_too():
    place = desk(done("[0.1]"), done("[0.2]"))
    assert whole(place, kind="embeddings") == whole(place, kind="embeddings") == done("[0.1]").body


def test_what_an_earlier_trimtab_kept_is_asked_anew():
    place = desk(good("one"), good("two"))
    whole(place)
    [key] = place.core.cache
    place.core.cache[key] = (b"\x93\x01\x02\x03", place.core.cache[key][1])
    assert whole(place) == good("two").body


def test_a_hit_that_cannot_be_recorded_is_refused():
    place = desk(good("one"))
    whole(place)
    place.log.broken = lambda record: isinstance(record, Closed)
    with pytest.raises(Exception, match="disk is full"):
        whole(place)


# Streams


def event(*events, raw=b"", usage_only=False):
    return Frame(events=events, raw=raw, usage_only=usage_only)


def streamed(text="Paris", *, raw=True):
    return [
        event(Started("resp-1", "m-2026"), ContentDelta(text[:2], 0), raw=b"data: 1\n\n" if raw else b""),
        event(ContentDelta(text[2:], 0), raw=b"data: 2\n\n" if raw else b""),
        event(Finish("stop", 0), raw=b"data: 3\n\n" if raw else b""),
        event(UsageReport(Usage(3, 2)), raw=b"data: 4\n\n" if raw else b"", usage_only=True),
        event(Done(), raw=b"data: [DONE]\n\n" if raw else b""),
    ]


@pytest.mark.parametrize("raw", [True, False])
def test_a_stream_is_given_again_byte_by_byte(raw):
    place = desk(streamed(raw=raw), streamed("London", raw=raw))

    async def main():
        return [await place.stream("route/r") for _ in range(2)]

    first, second = asyncio.run(main())
    assert first == second
    assert first.endswith(b"data: [DONE]\n\n")
    assert first.count(b"[DONE]") == 1
    miss, hit = closings(place)
    assert hit.cache_hit
    assert hit.usage == Usage()
    assert hit.response == miss.response
    assert b"Paris" in hit.response


def test_forms_of_a_reply_do_not_mix():
    place = desk(streamed(), good("whole"), streamed("London"))

    async def main():
        one = await place.stream("route/r")
        two = await place.whole("route/r")
        three = await place.stream("route/r", stream_options={"include_usage": True})
        return one, two, three

    one, two, three = asyncio.run(main())
    assert two == good("whole").body
    assert b"data: 4" not in one
    assert b"data: 4" in three
    assert place.counts.by_name["cache_hits"] == 0


def test_a_stream_that_its_client_left_is_not_kept():
    place = desk(streamed())

    async def main():
        async with place.core.call(ask("route/r", stream=True)) as call:
            async for _ in call.chunks():
                break

    asyncio.run(main())
    assert not place.core.cache


def test_a_stream_too_long_to_keep_is_not_kept_in_part():
    long = [event(Started("resp-1", "m"), ContentDelta("x", 0), raw=b"data: 1\n\n")]
    long += [event(ContentDelta("y", 0), raw=b"data: " + b"y" * 300_000 + b"\n\n") for _ in range(4)]
    long += streamed()[2:]
    place = desk(long)
    asyncio.run(place.stream("route/r"))
    assert not place.core.cache


# Never across keys


def history(rng):
    """Return who asks what of which plan, when."""
    texts = ("", "a", "b", "aa", "a\0b", "é")
    for _ in range(rng.randrange(2, 9)):
        caller = Caller(
            key=rng.choice(("", "k", "k1", "1")),
            project=rng.choice(("default", "p", "1")),
            cache_ttl_s=rng.choice((None, None, 0, 5)),
        )
        body = {"messages": [{"role": "user", "content": rng.choice(texts)}]}
        body |= rng.choice(({}, {"seed": 1}, {"seed": 11}, {"user": "k"}))
        yield caller, rng.choice(("route/r", "p/m")), body, rng.choice((0, 0.4, 2))


def who(caller, model, body):
    """Return what two requests must have in common to share a reply."""
    words = msgspec.json.encode({name: value for name, value in body.items() if name != "user"})
    return caller.key, caller.project, model, words


def test_never_across_keys_through_the_pipeline():
    """Whatever is asked in whatever order: a reply is given again only to who asked the same before, in time."""
    rng = random.Random(20261125)

    async def one():
        place = desk(ttl_s=rng.choice((0, 1, 60)))
        route_s = place.core.state.snapshot.routes[0].cache_ttl_s
        provider, seen = place.providers["p"], {}
        for step, (caller, model, body, pause_s) in enumerate(history(rng)):
            provider.turns = [good(f"answer {step}")]
            place.clock.advance(pause_s)
            asked = len(provider.asked)
            got = await place.whole(model, about={"caller": caller}, **body)
            if len(provider.asked) == asked:
                answer, until_us = seen[who(caller, model, body)]
                assert got == answer
                assert place.clock.now_us() < until_us
            else:
                kept_s = (
                    (route_s if model == "route/r" else 0)
                    if caller.cache_ttl_s is None
                    else caller.cache_ttl_s
                )
                if kept_s:
                    seen[who(caller, model, body)] = (got, place.clock.now_us() + int(kept_s * 1e6))

    async def main():
        for _ in range(300):
            await one()

    asyncio.run(main())


@pytest.mark.parametrize("histories", [1_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_never_across_keys(histories):
    """The same of the cache alone, which is quick enough for very many histories."""
    rng = random.Random(20261126)
    plans = {name: desk().core.state.resolve(name, "") for name in ("route/r", "p/m")}
    hash_of = ParamsHash()
    for _ in range(histories):
        cache, seen, now_us = MemoryReplies(), {}, 0
        for step, (caller, model, body, pause_s) in enumerate(history(rng)):
            now_us += int(pause_s * 1e6)
            ttl = ttl_s(caller, plans[model], "")
            if not ttl:
                continue
            request = ask(model, about={"caller": caller}, **body)
            key = reply_key(caller, "chat", plans[model], parse(request, hash_of))
            slot = Slot(cache, key, ttl, lambda now_us=now_us: now_us)
            if (kept := slot.look()) is not None:
                answer, until_us = seen[who(caller, model, body)]
                assert kept.body == answer
                assert now_us < until_us
            else:
                answer = b"%d" % step
                slot.keep("chat", answer, Outcome(finish_reason="stop"))
                seen[who(caller, model, body)] = (answer, now_us + int(ttl * 1e6))


@pytest.mark.parametrize("jump_us", [-3_600_000_000, 30_000_000])
def test_a_call_answered_from_the_cache_takes_as_long_as_it_took_whatever_the_clock_says(jump_us):
    it = desk(good(), ttl_s=7 * 24 * 3600)
    whole(it)
    kept = it.core.cache

    class Jumps(MemoryReplies):
        """Has the clock set while it looks."""

        def get(self, key, now_us):
            it.clock.set_now_us(now_us + jump_us)
            return kept.get(key, now_us)

    it.core.cache = Jumps()
    whole(it)
    opened, closed = it.opened[-1], closings(it)[-1]
    assert closed.cache_hit
    assert 0 <= closed.first_byte_us <= closed.closed_us - opened.opened_us < 20_000_000
