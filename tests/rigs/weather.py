"""Upstreams whose health changes while clients call, clients at a steady rate, and what became of their calls."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trimtab.testing import Pace, Scripted
from trimtab.testing.reply import Ask

from .caller import Question, Seen, call

Weather = Callable[[int], Scripted]
"""Makes a reply from the request's number."""


def fine(latency_s: float) -> Weather:
    """Return a provider that is well."""
    return lambda _: Scripted("fine", pace=Pace(before_head_s=latency_s))


def brown_out(latency_s: float, one_fails_in: int) -> Weather:
    """Return one that is slow, and answers 500 once in so many requests."""

    def reply(number: int) -> Scripted:
        if number % one_fails_in == 0:
            return Scripted(status=500, pace=Pace(before_head_s=latency_s))
        return Scripted("late", pace=Pace(before_head_s=latency_s))

    return reply


def down(_number: int) -> Scripted:
    """A provider that answers every request with a 500."""
    return Scripted(status=500)


class Sky:
    """A script whose weather can be changed while it is asked."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.asked: list[float] = []
        """When each request came, in `time.monotonic()` seconds."""

    def __call__(self, ask: Ask) -> Scripted:
        self.asked.append(time.monotonic())
        return self.weather(ask.number)

    def since(self, at: float, until: float = 1e18) -> int:
        """How many requests came in that time."""
        return sum(at <= asked < until for asked in self.asked)


@dataclass
class Diary:
    """Calls with when they began and how long they took."""

    calls: list[tuple[float, float, Seen]] = field(default_factory=list)

    def between(self, begin: float, end: float) -> list[float]:
        """Durations of the calls that began then, in seconds, sorted."""
        return sorted(took for at, took, _ in self.calls if begin <= at < end)

    def failed(self) -> list[Seen]:
        return [seen for _, _, seen in self.calls if not seen.answered]


def quantile(found: list[float], p: float) -> float:
    assert found, "there were calls"
    return found[min(len(found) - 1, int(p * len(found)))]


async def load(
    port: int, model: str, per_s: float, seconds: float, diary: Diary, *, stream: bool = False
) -> None:
    """Begin calls at a steady rate, however long they take, and wait for all of them."""

    async def one(number: int) -> None:
        began = time.monotonic()
        seen = await call(port, Question(f"call {number}", model=model, stream=stream))
        diary.calls.append((began, time.monotonic() - began, seen))

    until, number = time.monotonic() + seconds, 0
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < until:
            group.create_task(one(number))
            number += 1
            await asyncio.sleep(1 / per_s)
