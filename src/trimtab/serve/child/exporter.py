"""The exporter process: hands what is stored to the sinks that the configuration names."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from trimtab._version import __version__
from trimtab.plugins import load
from trimtab.serve.folder import Layout
from trimtab.serve.options import EXIT_OK, ChildOptions
from trimtab.storage import CallStore
from trimtab.types import Call, SpanEnded, SystemClock, new_id

from .life import LifeLine
from .server import run_async


class StoredRows:
    """Rows of a call store, as `telemetry.Source`."""

    def __init__(self, store: CallStore) -> None:
        self._store = store

    def calls(self, ids: Sequence[str]) -> list[Call]:
        """See `Source.calls`. 100 µs a call."""
        found = (self._store.get(call_id) for call_id in ids)
        return [call for call in found if call is not None]

    def spans(self, ids: Sequence[str]) -> list[SpanEnded]:
        """See `Source.spans`."""
        return []


def run_exporter(options: ChildOptions, line: LifeLine) -> int:
    """Export until SIGTERM; return the exit status."""
    return run_async(lambda: _work(options, line))


async def _work(options: ChildOptions, line: LifeLine) -> int:
    from trimtab.ledger import read_all
    from trimtab.storage.sqlite import open_call_store
    from trimtab.telemetry import Exporter, SinkContext

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    layout = Layout(Path(options.data_dir))
    layout.feed.mkdir(mode=0o700, exist_ok=True)
    instance = _instance(layout.feed / "instance")
    sinks = {}
    for spec in options.telemetry.sinks:
        context = SinkContext(
            name=spec.name, env=os.environ, clock=SystemClock(), instance=instance, version=__version__
        )
        sinks[spec.name] = load("trimtab.sinks", spec.kind)(spec.options, context)
    store = open_call_store(layout.calls, read_only=True)
    try:
        exporter = Exporter(layout.feed, StoredRows(store), sinks, counters=lambda: read_all(layout.counters))
        line.ready()
        await exporter.run(stop)
    finally:
        store.close()
    return EXIT_OK


def _instance(path: Path) -> str:
    """Return what names this data folder among others, made at its first export."""
    if not path.exists():
        path.write_text(new_id(), encoding="ascii")
    return path.read_text(encoding="ascii")
