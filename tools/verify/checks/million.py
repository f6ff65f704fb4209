"""A store of 1,000,000 calls: CPU of pages, search and one call, and the disk they take."""

import os
import subprocess
from collections.abc import Iterable

from bench.console import CALL_KB, PAGES, serving, site_figures, store_figures
from bench.figures import Figure

from tools.verify.line import CannotRun, Context, Line, at_least, from_figures
from trimtab.serve import Layout
from trimtab.storage.sqlite import open_call_store

CALLS = int(os.environ.get("VERIFY_CALLS", "1000000"))
ROUNDS = 40
ROOM_BYTES = 12_000_000_000
PER_S = 10_000
"""What the generator should reach on a machine that does nothing else."""


def run(context: Context) -> list[Line]:
    """Generate, then read."""
    free = os.statvfs(context.scratch)
    if free.f_bavail * free.f_frsize < ROOM_BYTES * CALLS / 1_000_000:
        raise CannotRun(
            f"a million calls need {ROOM_BYTES / 1e9:g} GB free in {context.scratch.parent}; set TMPDIR"
        )
    folder = context.scratch / "data"
    done = subprocess.run(
        [context.python, "-m", "bench.records", folder, "--calls", str(CALLS)],
        cwd=context.root,
        check=True,
        capture_output=True,
        text=True,
    )
    context.say(f"  {done.stdout.strip()}")
    per_s = float(done.stdout.split(":")[1].split()[0].replace(",", ""))
    lines = [at_least("the generator", per_s, PER_S, "calls/s")]
    store = open_call_store(Layout(folder).calls, read_only=True)
    found = list(store_figures(store, ROUNDS))
    size = sum(store.disk_bytes().values()) / store.count() / 1000
    found.append(Figure("disk per call of 2 KB text", "", size, "KB", CALL_KB))
    store.close()
    with serving(folder, context.scratch) as site:
        found += site_figures(site, PAGES, ROUNDS)
    return lines + from_figures(named(found))


def named(figures: Iterable[Figure]) -> list[Figure]:
    """Say at which size."""
    return [
        Figure(f.measure, f"{f.subject} ({CALLS:,} calls)", f.value, f.unit, f.limit, f.holds)
        for f in figures
    ]
