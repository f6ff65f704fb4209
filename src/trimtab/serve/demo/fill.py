"""Filling and removing the demo."""

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import msgspec

from trimtab.ledger import LogWriter
from trimtab.storage import AppStore, CallQuery, CallStore
from trimtab.types import FeedbackGiven, KeySpec, Project

from .day import MINUTE_US, Planned, incident_of, plan_day
from .play import Player
from .texts import load_texts
from .traced import Tracing

DEMO: Final = "demo"
"""The project's name."""

SEED: Final = 20_261_125
CALLS: Final = 4_200
DAY_US: Final = 1440 * MINUTE_US

Say = Callable[[str], None]


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a wish to fill the demo."""

    calls: int
    """Written now; 0 where a day of them was there already."""
    feedback: int = 0
    replaced: int = 0
    """Calls of an older demo that gave way."""


def demo_is_fresh(calls: CallStore, now_us: int) -> bool:
    """Return whether there is a demo, and no older than a day: then it is left as it is."""
    return bool(calls.find(CallQuery(project=DEMO, since_us=now_us - DAY_US, limit=1)))


def add_project(app: AppStore, now_us: int) -> dict[str, str]:
    """Make the project and a key for each of its applications; return route → key id. Idempotent.

    The keys are made of random bytes that nobody keeps: they stand in the lists, and let nobody in.
    """
    if all(project.name != DEMO for project in app.projects()):
        app.put_project(Project(name=DEMO, title="Demo", created_us=now_us))
    there = {key.name: key.id for key in app.keys() if key.project == DEMO}  # noqa: SIM118 - no dict
    found = {}
    for app_of in load_texts().apps:
        name = f"{app_of.name} (demo)"
        if name not in there:
            key_id = f"key_demo_{os.urandom(6).hex()}"
            secret = hashlib.sha256(os.urandom(32)).hexdigest()
            app.add_key(KeySpec(id=key_id, sha256=secret, name=name, project=DEMO, created_us=now_us))
            there[name] = key_id
        found[app_of.route] = there[name]
    return found


def fill_log(log: Path, keys: dict[str, str], now_us: int, say: Say = lambda _text: None) -> Filled:
    """Write a day of calls and traces to the append log, as one more writer; a recorder stores them. Some 2 s of CPU.

    Args:
        log: the log's folder.
        keys: route → key id, as `add_project` returns.
        now_us: the end of that day, in microseconds since 1970; what is made follows from its minute and the seed.
        say: told how far it is.
    """
    now_us -= now_us % MINUTE_US
    texts = load_texts()
    # Chance that is the same every time: nothing here is a secret.
    rng = Random(f"{SEED}-{now_us}")  # noqa: S311
    planned = plan_day(texts, rng, now_us, CALLS)
    player = Player(DEMO, keys, incident_of(planned, now_us), rng)
    writer = LogWriter(log, "demo")
    try:
        tracing = Tracing(Random(f"{SEED}-{now_us}-traces"))  # noqa: S311
        return asyncio.run(_write(writer, Playing(player, tracing), planned, say))
    finally:
        writer.close()


class Playing(NamedTuple):
    """What makes records of planned calls."""

    player: Player
    tracing: Tracing


async def _write(writer: LogWriter, playing: Playing, planned: list[Planned], say: Say) -> Filled:
    player = playing.player
    judged = 0
    told = time.monotonic()
    # Two calls whose worker died over them.
    lost = {len(planned) * 3 // 5, len(planned) * 9 // 10}
    for number, one in enumerate(planned):
        opened, closed = await player.play(one)
        opened, spans = playing.tracing.around(one, opened, closed)
        for span in spans:
            writer.append(span)
        writer.append(opened)
        if number not in lost:
            writer.append(closed)
            judged += _append_feedback(writer, player.judge(one.app, opened, closed), planned[-1].at_us)
        if time.monotonic() - told >= 0.5:
            told = time.monotonic()
            say(f"demo: {number + 1:,} of {len(planned):,} calls")
    for span in playing.tracing.rest():
        writer.append(span)
    say(f"demo: {len(planned):,} calls of the last 24 hours, in the project {DEMO!r}")
    return Filled(calls=len(planned), feedback=judged)


def _append_feedback(writer: LogWriter, given: Iterator[FeedbackGiven], until_us: int) -> int:
    count = 0
    for one in given:
        if one.at_us < until_us:
            writer.append(one)
            count += 1
    return count


def fill_folder(
    log: Path, app: AppStore, calls: CallStore, now_us: int, say: Say = lambda _text: None
) -> Filled:
    """Fill the demo where nothing runs; one of the last day is left as it is, an older one gives way.

    Args:
        log: the append log's folder, which holds nothing that is not stored.
        app: opened for writing.
        calls: opened for writing.
        now_us: microseconds since 1970.
        say: told how far it is.
    """
    from trimtab.ledger import Recorder

    if demo_is_fresh(calls, now_us):
        say("demo: it is there already; `trimtab demo remove` takes it away")
        return Filled(calls=0)
    replaced = calls.erase_project(DEMO)
    filled = fill_log(log, add_project(app, now_us), now_us, say)
    with Recorder(log, calls) as recorder:
        recorder.drain()
    return msgspec.structs.replace(filled, replaced=replaced)


def remove_from(app: AppStore, calls: CallStore) -> int | None:
    """Remove the project, its keys and its calls, and nothing else; return how many calls, or None without one."""
    there = any(project.name == DEMO for project in app.projects())
    removed = calls.erase_project(DEMO)
    if there:
        app.remove_project(DEMO)
    return removed if there or removed else None
