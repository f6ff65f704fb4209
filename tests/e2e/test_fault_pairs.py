"""Two faults in one call: the first target has one, the fallback another; a third is well. A sample of the pairs is
tried by `make test`, all of them by `make test-slow`."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import msgspec
import pytest

from rigs.gateway import POLICY, GatewayRig, fake
from rigs.strict_client import Answer, ask
from trimtab.testing import FAULTS, FakeServer, Fault, Scale, Scripted
from trimtab.types import (
    Breaker,
    Closed,
    Deadlines,
    Opened,
    Release,
    Resilience,
    RouteSpec,
    Snapshot,
    WeightedRelease,
)

SCALE = Scale(
    stall_s=3.0, drip_s=0.001, drip_bytes=64, settle_s=0.02, retry_after_s=0.05, huge_bytes=6_000_000
)
TEXT = "The capital of France is Paris."
HEALTHY = "Rescued by the last one."
ALONE = Resilience(breaker=Breaker(enabled=False), retry_min_per_s=1000.0)
"""Each pair is to be met with fresh eyes: no breaker remembers the pair before."""
LIMITS = Deadlines(connect_s=0.3, first_byte_s=1.0, idle_s=1.0, total_s=12.0)
PAIRS = [(a, b, lane) for lane in ("stream", "whole") for a in FAULTS.values() for b in FAULTS.values()]
PAIRS = [(a, b, lane) for a, b, lane in PAIRS if lane in a.lanes and lane in b.lanes]


@contextmanager
def everything(folder) -> Iterator[GatewayRig]:
    """Serve a provider with each fault, one that is well, and a route for each pair."""
    with ExitStack() as stack:
        good = stack.enter_context(FakeServer(script=Scripted(HEALTHY)))
        providers = [fake("good", good.base_url)]
        for name, fault in FAULTS.items():
            server = stack.enter_context(FakeServer(script=Scripted(_pieces()), fault=fault, scale=SCALE))
            providers.append(fake(name, server.base_url))
        routes, releases = [], {}
        for a in FAULTS:
            for b in FAULTS:
                release = Release(model=f"{a}/fake-1", fallbacks=(f"{b}/fake-1", "good/fake-1"))
                releases[release.id()] = release
                channels = {"production": (WeightedRelease(release=release.id()),)}
                routes.append(RouteSpec(name=f"{a}.{b}", channels=channels))
        snapshot = Snapshot(
            generation=1,
            policy=msgspec.structs.replace(POLICY, resilience=ALONE, deadlines=LIMITS),
            providers=tuple(providers),
            routes=tuple(routes),
            releases=releases,
        )
        yield stack.enter_context(GatewayRig(folder, snapshot))


def _pieces() -> list[str]:
    words = TEXT.split(" ")
    return [word + " " for word in words[:-1]] + words[-1:]


def wrong(first: Fault, second: Fault, lane: str, answer: Answer, closed: Closed) -> str:
    """Return what is wrong with what a client saw and the ledger holds; empty: nothing."""
    pair = (first, second)
    checks = _done(pair, answer, closed) if answer.done else _failed(pair, lane, answer, closed)
    for attempt in closed.attempts:
        name = attempt.target.partition("/")[0]
        fits = not attempt.error_code or attempt.error_code in FAULTS[name].expect
        checks[f"an attempt at {name} is recorded as {attempt.error_code!r}"] = fits
    return ", ".join(problem for problem, fits in checks.items() if not fits)


def _done(pair: tuple[Fault, Fault], answer: Answer, closed: Closed) -> dict[str, bool]:
    whole = TEXT in answer.text or answer.text == HEALTHY or "duplicate_chunk" in [f.name for f in pair]
    return {
        "a complete answer that is none": not answer.error and answer.terminated and whole,
        "answered, and recorded as failed": closed.state == "ok",
        "answered for nothing": closed.usage.output_tokens > 0,
    }


def _failed(pair: tuple[Fault, Fault], lane: str, answer: Answer, closed: Closed) -> dict[str, bool]:
    must = all(fault.rescuable(lane) and not fault.passes for fault in pair)
    return {
        "a silent truncation": bool(answer.error),
        "a broken stream that looks complete": answer.status != 200 or not answer.terminated,
        f"recorded as {closed.state} {closed.error_code!r}": closed.state == "error"
        and closed.error_code == answer.error,
        "not rescued": not must,
    }


def try_all(pairs, folder) -> None:
    with everything(folder) as gateway:
        with ThreadPoolExecutor(12) as pool:
            answers = list(
                pool.map(
                    lambda pair: ask(
                        gateway.port, f"route/{pair[0].name}.{pair[1].name}", stream=pair[2] == "stream"
                    ),
                    pairs,
                )
            )
        gateway.calls(len(pairs))
        records = gateway.records()
    opened = {r.id for r in records if isinstance(r, Opened)}
    closed = {r.id: r for r in records if isinstance(r, Closed)}
    assert len(opened) == len(closed) == len(pairs)
    found: dict[str, str] = {}
    for (first, second, lane), answer in zip(pairs, answers, strict=True):
        problem = wrong(first, second, lane, answer, closed[answer.call_id])
        if problem:
            found[f"{first.name} + {second.name} ({lane})"] = f"{problem}: {str(answer)[:300]}"
    assert not found, f"{len(found)} of {len(pairs)}:\n" + "\n".join(f"{k}: {v}" for k, v in found.items())


def test_a_sample_of_the_pairs_is_rescued_or_an_explicit_error(tmp_path) -> None:
    try_all(random.Random(4).sample(PAIRS, 150), tmp_path)


@pytest.mark.slow
def test_all_pairs_are_rescued_or_an_explicit_error(tmp_path) -> None:
    pairs = list(PAIRS)
    random.Random(5).shuffle(pairs)
    try_all(pairs, tmp_path)
