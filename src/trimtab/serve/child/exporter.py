"""The exporter process: hands what is stored to the sinks that the configuration names."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from trimtab._version import __version__
from trimtab.plugins import load
from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.serve.options import EXIT_OK, ChildOptions
from trimtab.storage import CallStore
from trimtab.types import Call, SpanEnded, SystemClock, new_id

if TYPE_CHECKING:
    from trimtab.telemetry import Exporter

from .life import LifeLine
from .server import run_async

_MOST_SPANS: Final = 10_000
"""Of one trace that are looked through for those to be sent."""

_PUBLISH_S: Final = 2.0


class KeptTrace(Protocol):
    """The spans of one trace, as a store returns them."""

    spans: Sequence[SpanEnded]


@runtime_checkable
class KeepsTraces(Protocol):
    """A store that can return a trace's spans."""

    def trace(self, trace_id: str, *, most_spans: int, most_calls: int) -> KeptTrace | None:
        """Return what is known of a trace, or None."""
        ...


class StoredRows:
    """Rows of a call store, as `telemetry.Source`."""

    def __init__(self, store: CallStore) -> None:
        self._store = store

    def calls(self, ids: Sequence[str]) -> list[Call]:
        """See `Source.calls`. 100 µs a call."""
        found = (self._store.get(call_id) for call_id in ids)
        return [call for call in found if call is not None]

    def spans(self, ids: Sequence[str]) -> list[SpanEnded]:
        """See `Source.spans`. A lookup a trace."""
        if not isinstance(self._store, KeepsTraces):
            return []
        found: dict[str, SpanEnded] = {}
        for trace_id in dict.fromkeys(span_id.partition("-")[0] for span_id in ids):
            trace = self._store.trace(trace_id, most_spans=_MOST_SPANS, most_calls=0)
            found.update((span.id, span) for span in (trace.spans if trace else ()))
        return [found[span_id] for span_id in ids if span_id in found]


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
        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(_publish(layout, exporter))
            await exporter.run(stop)
            publishing.cancel()
    finally:
        store.close()
    return EXIT_OK


async def _publish(layout: Layout, exporter: "Exporter") -> None:
    """Publish how far each sink is, until cancelled."""
    from trimtab.ledger import publish_families
    from trimtab.telemetry import export_families

    while True:
        try:
            await asyncio.to_thread(publish_families, layout.run, "exporter", export_families(exporter))
        except OSError as error:
            log.error("figures for /metrics cannot be published: %s", error.strerror or error)
        await asyncio.sleep(_PUBLISH_S)


def _instance(path: Path) -> str:
    """Return what names this data folder among others, made at its first export."""
    if not path.exists():
        path.write_text(new_id(), encoding="ascii")
    return path.read_text(encoding="ascii")
