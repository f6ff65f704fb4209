"""`python -m bench.records FOLDER`: recorded calls by the million, written straight into a data folder.

Each call has about 2 KB of text, English and Japanese in turn. Words follow Zipf's law over 30,000 made-up ones and a
few hundred of a real core, so that a search has common, middling and rare words to look for. One day
for each core is written call by call, by a process of its own in a folder aside; the other days are those, moved in
time. So texts repeat from day to day, and within one they do not.
"""

import argparse
import bisect
import itertools
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw
import msgspec

from trimtab.catalog import Catalog
from trimtab.serve import Layout
from trimtab.storage.sqlite import open_app_store, open_call_store
from trimtab.types import Attempt, Call, Closed, FeedbackGiven, Opened, Project, Usage

DAY_US = 86_400_000_000
BATCH = 1000
MODELS = (
    "openai/gpt-5.4",
    "openai/gpt-5-mini",
    "anthropic/claude-sonnet-5-5",
    "google/gemini-2.5-flash",
    "own/smollm2",
)
ROUTES = ("", "support", "notes", "translate", "review")
SENTENCES = 30_000
_, CORE, CORE_JA, GLUE_JA, (KANJI,), SYLLABLES = (
    line.split()
    for line in (Path(__file__).parent / "data" / "words.txt").read_text(encoding="utf-8").splitlines()
)


@dataclass(frozen=True)
class Job:
    """One process's share."""

    folder: str
    days: tuple[tuple[int, int], ...]
    """(start of the day in microseconds, calls)."""
    text_bytes: int
    seed: int
    index: bool


def _sums(count: int, flat: int) -> list[float]:
    return list(itertools.accumulate(1 / (n + flat) for n in range(count)))


class Words:
    """Text of a believable distribution: the n-th most common word has a share of 1/n."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        made = random.Random(1)
        rare = ["".join(made.choices(SYLLABLES, k=made.randint(2, 4))) for _ in range(30_000)]
        rare_ja = ["".join(made.choices(KANJI, k=2)) for _ in range(8_000)]
        self._english = (CORE + rare, _sums(len(CORE) + len(rare), 1))
        # Japanese content words are less steep: glue stands between them.
        self._japanese = (CORE_JA + rare_ja, _sums(len(CORE_JA) + len(rare_ja), 6))
        # Sentences are made once and mixed: making each word anew would cost more than storing it.
        self._sentences = [self._make_english() for _ in range(SENTENCES)]
        self._sentences_ja = [self._make_japanese() for _ in range(SENTENCES)]

    def _draw(self, words: Sequence[str], sums: Sequence[float], count: int) -> list[str]:
        top, rng = sums[-1], self._rng
        return [words[bisect.bisect(sums, rng.random() * top)] for _ in range(count)]

    def _make_english(self) -> str:
        return " ".join(self._draw(*self._english, self._rng.randint(6, 18))).capitalize() + ". "

    def _make_japanese(self) -> str:
        words = self._draw(*self._japanese, self._rng.randint(3, 7))
        return "".join(word + self._rng.choice(GLUE_JA) for word in words)

    def text(self, size: int, *, japanese: bool) -> str:
        """About `size` bytes of UTF-8."""
        source = self._sentences_ja if japanese else self._sentences
        parts, length, choice = [], 0, self._rng.random
        while length < size:
            sentence = source[int(choice() * len(source))]
            parts.append(sentence)
            length += len(sentence) * 3 if japanese else len(sentence)
        return "".join(parts)


def calls_of(day_us: int, count: int, text_bytes: int, words: Words, rng: random.Random) -> Iterator[Call]:
    """A day's calls, in the order of time."""
    step = DAY_US / count
    version = Catalog.load().version
    for n in range(count):
        opened_us = int(day_us + n * step + rng.random() * step)
        japanese = n % 2 == 1
        model = MODELS[min(int(rng.random() ** 2 * len(MODELS)), len(MODELS) - 1)]
        provider, _, served = model.partition("/")
        number = rng.getrandbits(74)
        bits = f"{number:019x}"
        h = f"{opened_us // 1000:012x}"
        call_id = f"{h[:8]}-{h[8:]}-7{bits[:3]}-{'89ab'[number & 3]}{bits[4:7]}-{bits[7:19]}"
        share = rng.random()
        asked = words.text(int(text_bytes * 0.6), japanese=japanese)
        said = words.text(int(text_bytes * 0.4), japanese=japanese)
        throw = rng.random()
        state = "error" if throw < 0.02 else "cancelled" if throw < 0.03 else "ok"
        code = {"error": "provider_unavailable", "cancelled": "client_cancelled", "ok": ""}[state]
        stream = rng.random() < 0.5
        took = int(rng.lognormvariate(14, 0.6))
        opened = Opened(
            call_id, opened_us, "default" if share < 0.8 else f"team-{int(share * 50) % 9}", "live", "chat",
            ROUTES[n % len(ROUTES)], "production" if n % len(ROUTES) else "", "rel_" + f"{n % 7:032x}", "", model,
            model, f"{n % 11:016x}", stream, f"key_{n % 23}", f"session-{n // 6 % 200_000}" if n % 3 else "",
            f"user-{int(rng.random() ** 2 * 5000)}" if n % 4 else "", ("web",) if n % 10 == 0 else (),
            "openai-python/3.2.0", "", "", "", "full",
            msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": asked}], "stream": stream}),
        )  # fmt: skip
        answer = {
            "id": f"chatcmpl-{number:019x}", "object": "chat.completion", "created": opened_us // 1_000_000,
            "model": served,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
        }  # fmt: skip
        usage = Usage(len(asked) // 4, len(said) // 4)
        closed = Closed(
            call_id, opened_us + took, took // 5, state, {"ok": 200, "error": 503, "cancelled": 499}[state], code,
            "the provider said no" if code else "", model, served, provider, f"chatcmpl-{number:019x}",
            f"req_{number % 1_000_000:x}", "fp_1", "stop", (Attempt(model, 0, took, code, 200),), usage,
            usage.input_tokens * 250 + usage.output_tokens * 2000, version, False, False,
            msgspec.json.encode(answer),
        )  # fmt: skip
        yield Call(opened=opened, closed=closed, state=state)


def write(job: Job) -> int:
    """Write one process's days; return how many calls."""
    rng = random.Random(job.seed)
    words = Words(rng)
    store = open_call_store(job.folder)
    done = 0
    try:
        for day_us, count in job.days:
            made = calls_of(day_us, count, job.text_bytes, words, rng)
            while batch := list(itertools.islice(made, BATCH)):
                done += store.insert(batch)
                store.insert_feedback(list(feedback_on(batch, rng)))
                if job.index:
                    store.index_pending(BATCH)
        store.flush()
    finally:
        store.close()
    return done


def feedback_on(batch: Sequence[Call], rng: random.Random) -> Iterator[FeedbackGiven]:
    """One call in a hundred is judged."""
    for call in batch[::100]:
        score = float(rng.random() < 0.8)
        o = call.opened
        yield FeedbackGiven(
            f"{o.id[:-4]}feed",
            o.id,
            o.opened_us + 9_000_000,
            o.project,
            "thumbs",
            score,
            "",
            "",
            "",
            o.user,
            o.key,
        )


@dataclass(frozen=True)
class Copy:
    """A day that is made from another."""

    source: str
    target: str
    days: int
    """By how many it is later; negative: earlier."""


def copy(job: Copy) -> None:
    """Make a day file from another one: places in it count from the start of the day, so only times move.

    Indexing two kilobytes of Japanese costs 0.2 ms, moving a call 10 µs.
    """
    shutil.copyfile(job.source, job.target)
    Path(job.target).chmod(0o600)
    shift_us = job.days * DAY_US
    connection = apsw.Connection(job.target)

    def later(call_id: bytes) -> bytes:
        return (int.from_bytes(call_id[:6], "big") + shift_us // 1000).to_bytes(6, "big") + call_id[6:]

    connection.create_scalar_function("later", later, 1, deterministic=True)
    connection.pragma("synchronous", "OFF")
    with connection:
        shift = {"shift": shift_us}
        connection.execute(
            "UPDATE calls SET id=later(id), opened_us=opened_us+:shift, closed_us=closed_us+:shift", shift
        )
        connection.execute(
            "UPDATE feedback SET id=id||'-'||:shift, call_id=later(call_id), at_us=at_us+:shift", shift
        )
        connection.execute("UPDATE rollup SET start_us=start_us+:shift", shift)
    connection.pragma("wal_checkpoint(truncate)")
    connection.close()


def generate(
    folder: Path,
    count: int,
    *,
    days: int = 10,
    text_bytes: int = 2000,
    processes: int = 0,
    index: bool = True,
) -> float:
    """Write about `count` calls over the `days` days before today; return the seconds it took.

    One day for each process is written call by call, and the others are made from those, moved in time.
    """
    began = time.monotonic()
    layout = Layout(folder)
    layout.make()
    app = open_app_store(layout.app)
    for n in range(9):
        app.put_project(Project(name=f"team-{n}", title=f"Team {n}"))
    app.close()
    processes = min(processes or os.cpu_count() or 1, days)
    today = time.time_ns() // 1000 // DAY_US
    starts = [today - n - 1 for n in range(days)]
    aside = [layout.calls / f".making-{n}" for n in range(processes)]
    jobs = [
        Job(str(path), ((day * DAY_US, count // days),), text_bytes, n + 1, index)
        for n, (path, day) in enumerate(zip(aside, starts, strict=False))
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        done = sum(pool.map(write, jobs, chunksize=1))
        assert done == count // days * processes, f"{done} calls were new; the folder held some of them"
        made = []
        for path in aside:
            [file] = path.glob("calls-*.db")
            made.append(layout.calls / file.name)
            file.replace(made[-1])
            shutil.rmtree(path)
        copies = []
        for n, day in enumerate(starts[processes:]):
            name = time.strftime("calls-%Y%m%d.db", time.gmtime(day * 86_400))
            source = made[n % processes]
            copies.append(Copy(str(source), str(layout.calls / name), day - starts[n % processes]))
        pool.map(copy, copies, chunksize=1)
    # Opening it for writing makes the manifest of what is there.
    open_call_store(layout.calls).close()
    return time.monotonic() - began


def main() -> int:
    """Generate, and say how fast and how large."""
    parser = argparse.ArgumentParser(prog="python -m bench.records", description=__doc__)
    parser.add_argument("folder", type=Path, help="a data folder on which nothing runs")
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--text-bytes", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=0, help="0: as many as there are cores")
    options = parser.parse_args()
    took = generate(
        options.folder,
        options.calls,
        days=options.days,
        text_bytes=options.text_bytes,
        processes=options.processes,
    )
    store = open_call_store(Layout(options.folder).calls, read_only=True)
    size = sum(store.disk_bytes().values())
    store.close()
    print(
        f"{options.calls:,} calls in {took:.0f} s: {options.calls / took:,.0f} a second, "
        f"{size / options.calls / 1000:.2f} KB a call on disk"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
