"""What the recorder process notes of all it stores: ids for the exporter, and figures for `/metrics`."""

import shutil
import time
from collections.abc import Sequence

from trimtab.ledger import Family, Progress, publish_families
from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.storage import CallStore
from trimtab.telemetry import FeedWriter, Figures
from trimtab.types import Call, Clock, SpanEnded, SystemClock

_PUBLISH_S = 5.0
"""How often figures are published: 2 ms of CPU with 20 models, 60 ms with the 200 that there may be."""

_SIZES_S = 30.0
"""How often to look at sizes on disk."""


class Noted:
    """Told of what is stored (`ledger.Stored`); publishes beside it."""

    def __init__(self, layout: Layout, store: CallStore, feed: FeedWriter | None, clock: Clock) -> None:
        self._layout = layout
        self._store = store
        self._feed = feed
        self._clock = clock
        self._figures = Figures()
        self._due = self._sizes_due = 0.0
        self._sizes: list[Family] = []
        self._said = ""

    @classmethod
    def open(cls, layout: Layout, store: CallStore, *, backlog: int | None) -> "Noted":
        """Make it for a data folder; `backlog` None: nothing is exported.

        Raises:
            OSError: the feed cannot be made.
        """
        feed = None if backlog is None else FeedWriter(layout.feed, most=backlog)
        return cls(layout, store, feed, SystemClock())

    def __call__(self, rows: Sequence[Call] | Sequence[SpanEnded], new: int) -> None:
        """Note rows that the store has now."""
        self._figures.add(rows, new, self._clock.now_us())
        if self._feed is not None:
            self._feed.add(rows, new)

    def look(self, progress: Progress) -> None:
        """Publish, if it is time, and say what went wrong."""
        if self._feed is not None and self._feed.error != self._said:
            self._said = self._feed.error
            log.error("what is to be exported cannot be noted: %s", self._said or "it is noted again")
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _PUBLISH_S
        try:
            publish_families(
                self._layout.run, "recorder", [*self._figures.families(), *self._state(progress)]
            )
        except OSError as error:
            log.error("figures for /metrics cannot be published: %s", error.strerror or error)

    def close(self) -> None:
        """Release the feed."""
        if self._feed is not None:
            self._feed.close()

    def _state(self, progress: Progress) -> list[Family]:
        layout = self._layout
        waiting = sum(path.stat().st_size for path in layout.log.glob("*.log") if path.exists())
        if time.monotonic() >= self._sizes_due:
            self._sizes_due = time.monotonic() + _SIZES_S
            disk = shutil.disk_usage(layout.root)
            self._sizes = [
                _gauge(
                    "trimtab_store_bytes", "Recorded calls on disk.", sum(self._store.disk_bytes().values())
                ),
                _gauge("trimtab_disk_free_bytes", "Free where the data folder is.", disk.free),
                _gauge("trimtab_disk_size_bytes", "Size of the disk of the data folder.", disk.total),
            ]
        lag_s = self._figures.lag_s if progress.records or progress.behind else 0.0
        lost = self._feed.lost if self._feed is not None else 0
        return [
            _gauge(
                "trimtab_recorder_seen_seconds", "When the recorder wrote this.", self._clock.now_us() / 1e6
            ),
            _gauge("trimtab_recorder_lag_seconds", "From the end of calls to their storing.", lag_s),
            _gauge("trimtab_log_bytes", "Of the append log, open segments included.", waiting),
            _gauge("trimtab_open_calls", "Calls that began and did not end yet.", progress.open_calls),
            _gauge(
                "trimtab_unindexed_calls", "Stored calls that search does not find yet.", progress.unindexed
            ),
            Family(
                "trimtab_recorder_errors",
                "gauge",
                "1 while storing fails.",
                [("", {}, int(bool(progress.error)))],
            ),
            Family(
                "trimtab_refused_records",
                "counter",
                "The store cannot hold them.",
                [("_total", {}, progress.refused)],
            ),
            Family("trimtab_export_lost", "counter", "Not noted for export.", [("_total", {}, lost)]),
            *self._sizes,
        ]


def _gauge(name: str, about: str, value: float) -> Family:
    return Family(name, "gauge", about, [("", {}, value)])
