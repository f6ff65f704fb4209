"""Connections that are slow, idle, or gone."""

import random
from functools import partial

from tests.rigs.crowd import cancelled, idle_connections, open_files_allow, p99, slow_readers

from tools.verify.line import Context, Line, at_most

READERS, READ_S = 200, 30.0
IDLE = 10_000
TRIALS = 50


def run(context: Context) -> list[Line]:
    """Measure each on a house of its own."""
    return [slow(context), idle(context), *cancel(context)]


def slow(context: Context) -> Line:
    """How much memory slow readers cost the worker."""
    found = slow_readers(context.scratch / "slow", READERS, READ_S)
    ahead_kib = found.ahead_bytes / READERS / 1024
    note = (
        f"from {found.before_mb:.0f} MB; {READ_S:.0f} s, {found.read_bytes / READERS / READ_S / 1024:.2f} KiB/s "
        f"each; the provider was read {ahead_kib:.0f} KiB ahead of each"
    )
    return at_most(f"worker's growth with {READERS} readers at 1 KB/s", found.grown_mb, 50, "MB", note)


def idle(context: Context) -> Line:
    """By how much idle connections delay a new request."""
    promise = f"delay of a new request beside {IDLE:,} idle connections, p99"
    if why := open_files_allow(IDLE):
        return Line(promise, "NOT RUN", limit="<= 50 ms", note=f"{why}; raise it with: ulimit -Hn")
    found = idle_connections(context.scratch / "idle", IDLE)
    note = f"{p99(found.alone):.1f} ms alone, {p99(found.beside):.1f} ms beside them, 100 requests each"
    return at_most(promise, found.delay_ms(), 50, "ms", note)


def cancel(context: Context) -> list[Line]:
    """How soon a provider's socket is closed after its client left."""
    under_way_s = partial(random.uniform, 0.0, 0.2)
    found = cancelled(context.scratch / "cancel", TRIALS, under_way_s)
    return [
        at_most(
            f"client gone {moment}: provider's socket closed, slowest of {TRIALS}",
            max(took),
            100,
            "ms",
            f"p99 {p99(took):.1f} ms",
        )
        for moment, took in found.items()
    ]
