"""When the demo's calls happen, and what goes wrong meanwhile."""

import math
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from .texts import DemoApp, Texts, Tool, fill

MINUTE_US = 60_000_000
DAY_MINUTES = 1440

_CENTRES = {"europe": (9.5, 14.0), "japan": (1.5, 6.0), "even": ()}
"""Hours of the day, UTC, at which most is asked."""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One provider slows down, then fails, then is well again."""

    provider: str
    slow_us: int
    failing_us: int
    over_us: int

    def mood(self, provider: str, at_us: int) -> str:
        """Return `slow`, `failing`, `busy` (others take the load), or nothing."""
        if not self.slow_us <= at_us < self.over_us:
            return ""
        if provider != self.provider:
            return "busy" if at_us >= self.failing_us else ""
        return "failing" if at_us >= self.failing_us else "slow"


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One call as it is to happen."""

    at_us: int
    app: DemoApp
    user: str
    session: str
    messages: tuple[dict[str, Any], ...]
    answer: str
    chosen: dict[str, str]
    turn: int
    calls_tool: bool = False


def incident_of(planned: list[Planned], now_us: int, provider: str = "anthropic") -> Incident:
    """Return the day's incident: 40 minutes, 2 to 9 hours ago, when that provider was asked most."""
    asked = [one.at_us for one in planned if one.app.model.startswith(f"{provider}/")]
    starts = [now_us - minutes * MINUTE_US for minutes in range(120, 540, 10)]
    begin = max(starts, key=lambda at: sum(at <= asked_us < at + 40 * MINUTE_US for asked_us in asked))
    return Incident(
        provider=provider,
        slow_us=begin,
        failing_us=begin + 15 * MINUTE_US,
        over_us=begin + 40 * MINUTE_US,
    )


def plan_day(texts: Texts, rng: Random, now_us: int, calls: int) -> list[Planned]:
    """Return about so many calls of the 24 hours before `now_us`, in the order of time."""
    planned: list[Planned] = []
    for app in texts.apps:
        wanted = calls * app.share // 100
        weights = _weights(app, now_us)
        count = 0
        while count < wanted:
            minute = rng.choices(range(DAY_MINUTES), weights)[0]
            begin = now_us - (DAY_MINUTES - minute) * MINUTE_US + rng.randrange(MINUTE_US)
            made = list(_conversation(texts, app, rng, begin, now_us))
            planned += made
            count += len(made)
    planned.sort(key=lambda one: one.at_us)
    return planned


def _weights(app: DemoApp, now_us: int) -> list[float]:
    """Return how much is asked in each of the last day's minutes."""
    weights = []
    for minute in range(DAY_MINUTES):
        hour = (now_us // MINUTE_US - DAY_MINUTES + minute) % DAY_MINUTES / 60
        away = (min(abs(hour - centre), 24 - abs(hour - centre)) for centre in _CENTRES[app.hours])
        weights.append(0.25 + sum(math.exp(-((d / 3.2) ** 2)) for d in away))
    return weights


def _conversation(texts: Texts, app: DemoApp, rng: Random, begin_us: int, now_us: int) -> Iterator[Planned]:
    topic, chosen = rng.choice(app.topics), texts.choose(rng)
    user = (
        f"{'kyaku' if app.hours == 'japan' else 'user'}-{rng.randrange(app.users) + 1:03d}"
        if app.users
        else ""
    )
    session = f"{app.route}-{rng.getrandbits(40):010x}" if app.sessions else ""
    messages: list[dict[str, Any]] = [{"role": "system", "content": app.system}] if app.system else []
    turns = len(topic.turns) if rng.random() < 0.6 else rng.randint(1, len(topic.turns))
    at_us = begin_us
    for turn, (question, answer) in enumerate(topic.turns[:turns], 1):
        if at_us >= now_us - 5_000_000:
            return
        messages.append({"role": "user", "content": fill(question, chosen)})
        said = fill(answer, chosen)
        planned = Planned(
            at_us=at_us,
            app=app,
            user=user,
            session=session,
            messages=tuple(messages),
            answer=said,
            chosen=chosen,
            turn=turn,
        )
        if turn == 1 and topic.tool and app.tool is not None:
            yield msgspec.structs.replace(planned, answer="", calls_tool=True)
            messages += _tool_messages(app.tool, chosen)
            at_us += rng.randint(1_800_000, 4_000_000)
            planned = msgspec.structs.replace(planned, at_us=at_us, messages=tuple(messages))
        yield planned
        messages.append({"role": "assistant", "content": said})
        at_us += rng.randint(25_000_000, 170_000_000)


def _tool_messages(tool: Tool, chosen: dict[str, str]) -> list[dict[str, Any]]:
    arguments = {name: fill(value, chosen) for name, value in tool.arguments.items()}
    result = {name: fill(value, chosen) for name, value in tool.result.items()}
    called = {"name": tool.name, "arguments": msgspec.json.encode(arguments).decode()}
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_demo_0", "type": "function", "function": called}],
        },
        {"role": "tool", "tool_call_id": "call_demo_0", "content": msgspec.json.encode(result).decode()},
    ]
