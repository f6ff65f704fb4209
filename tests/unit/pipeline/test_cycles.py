"""A call leaves nothing to the garbage collector, however it ends: memory must not grow until that runs."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from rigs.pipeline import QUICK, Desk, Events, MemoryReplies, ask, done
from trimtab.access import Caller
from trimtab.types import (
    Breaker,
    ContentDelta,
    Deadlines,
    Done,
    Finish,
    Frame,
    Hedge,
    ProviderFault,
    Release,
    Resilience,
    RetryPolicy,
    RouteSpec,
    Started,
    TrimtabError,
    WeightedRelease,
)
from trimtab.types.errors import ConnectFailed, ProviderRejected, StreamCut

CALLS = 5
FIRST = [Frame(b"", (Started("id-1", "m-1"),)), Frame(b"", (ContentDelta("Paris"),))]
LAST = [Frame(b"", (Finish("stop"),)), Frame(b"", (Done(),))]
POLICY = msgspec.structs.replace(
    QUICK,
    retry=RetryPolicy(attempts=2, backoff_s=0.001, backoff_max_s=0.002, retry_after_max_s=0.2),
    deadlines=Deadlines(connect_s=1, first_byte_s=0.05, idle_s=0.05, total_s=5),
    resilience=Resilience(breaker=Breaker(enabled=False)),
)


class Anew(list[Any]):
    """Turns of a provider, made for each request: an error that is raised twice loses what held on to it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__([make])

    def __getitem__(self, at: Any) -> Any:
        return super().__getitem__(0)()


def down() -> Anew:
    return Anew(lambda: ConnectFailed("no connection"))


def routed(*fallbacks: str, **more: Any) -> dict[str, Any]:
    channels = {"production": (WeightedRelease(release="rel"),)}
    return {
        "routes": (RouteSpec(name="r", channels=channels, **more),),
        "releases": {"rel": Release(model="p/m", fallbacks=fallbacks)},
    }


def desk(*providers: Events, policy: Any = POLICY, **more: Any) -> Desk:
    return Desk(*providers, policy=policy, **more)


HEDGED = routed(hedge=Hedge(after_ms=5, budget=1.0))
ALL_OPEN = msgspec.structs.replace(POLICY, resilience=Resilience(when_all_open="refuse", breaker=Breaker()))
KEPT = {"caller": Caller(cache_ttl_s=60)}

CASES: dict[str, tuple[Callable[[], Desk], dict[str, Any]]] = {
    "whole": (lambda: desk(Events(turns=[done()])), {}),
    "stream": (lambda: desk(Events(turns=[FIRST + LAST])), {"stream": True}),
    "cached": (
        lambda: desk(Events(turns=[done(finish_reason="stop")]), cache=MemoryReplies()),
        {"about": KEPT},
    ),
    "refused by the provider": (
        lambda: desk(Events(turns=Anew(lambda: ProviderRejected("no", status=400)))),
        {},
    ),
    "nobody answers": (lambda: desk(Events(turns=down())), {}),
    "no fallback answers": (
        lambda: desk(Events(turns=down()), Events(name="q", turns=down()), **routed("q/n")),
        {"model": "route/r"},
    ),
    "a fallback answers": (
        lambda: desk(Events(turns=down()), Events(name="q", turns=[done()]), **routed("q/n")),
        {"model": "route/r"},
    ),
    "all are left alone": (lambda: desk(Events(turns=down()), policy=ALL_OPEN), {}),
    "nothing in time": (lambda: desk(Events(turns=[done()], before_head_s=1)), {}),
    "a pause": (lambda: desk(Events(turns=[[*FIRST, 0.2, *LAST]])), {"stream": True}),
    "cut before content": (lambda: desk(Events(turns=Anew(lambda: [StreamCut("cut")]))), {"stream": True}),
    "cut after content": (
        lambda: desk(Events(turns=Anew(lambda: [*FIRST, StreamCut("cut")]))),
        {"stream": True},
    ),
    "an error after content": (
        lambda: desk(Events(turns=[[*FIRST, Frame(b"", (ProviderFault("overloaded"),))]])),
        {"stream": True},
    ),
    "hedged": (
        lambda: desk(Events(turns=[[0.02, done()]]), **HEDGED),
        {"model": "route/r"},
    ),
    "hedged in vain": (
        lambda: desk(Events(turns=down(), before_head_s=0.02), **HEDGED),
        {"model": "route/r"},
    ),
    "hedged and late": (
        lambda: desk(Events(turns=[done()], before_head_s=1), **HEDGED),
        {"model": "route/r"},
    ),
    "no such model": (lambda: desk(Events(turns=[done()])), {"model": "zz/m"}),
    "a fault of our own": (lambda: desk(Events(turns=Anew(lambda: ValueError("a bug")))), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_left_to_the_garbage_collector(case: str) -> None:
    make, asked = CASES[case]
    asked = {"model": "p/m", **asked}
    stream = bool(asked.pop("stream", False))

    async def run() -> int:
        made = make()
        one: Callable[[], Awaitable[object]] = lambda: (made.stream if stream else made.whole)(**asked)  # noqa: E731
        await _ended(one)
        gc.collect()
        gc.disable()
        try:
            for _ in range(CALLS):
                await _ended(one)
            await asyncio.sleep(0.05)  # the sweeper has let go
            return gc.collect()
        finally:
            gc.enable()

    assert asyncio.run(run()) == 0


async def _ended(one: Callable[[], Awaitable[object]]) -> None:
    with suppress(TrimtabError, ValueError):
        await one()


def test_a_stream_that_is_left_leaves_nothing_either() -> None:
    made = desk(Events(turns=[[*FIRST, 0.01, *LAST]]))

    async def run() -> int:
        async def leave() -> None:
            async with made.core.call(ask(stream=True)) as call:
                async for _ in call.chunks():
                    break

        await leave()
        gc.collect()
        for _ in range(CALLS):
            await leave()
        await asyncio.sleep(0.05)
        return gc.collect()

    assert asyncio.run(run()) == 0
