"""How far a batch is: a bar on a terminal, or a function of the caller's."""

import sys
from collections.abc import Callable

from .items import Report

Show = Callable[[Report], None]


class Bar:
    """Shows progress on stderr, where that is a terminal; else it does nothing, and loads nothing."""

    def __init__(self, progress: bool | Show) -> None:  # noqa: FBT001 - the public argument as it is
        self._show = progress if callable(progress) else None
        self._draw = None
        if progress is True and sys.stderr is not None and sys.stderr.isatty():
            self._draw = _Drawing()

    @property
    def wanted(self) -> bool:
        """Whether somebody looks."""
        return self._show is not None or self._draw is not None

    def update(self, report: Report) -> None:
        """Show how things stand."""
        if self._show is not None:
            self._show(report)
        if self._draw is not None:
            self._draw.update(report)

    def close(self) -> None:
        """Leave the terminal as it was, the last state above."""
        if self._draw is not None:
            self._draw.close()


class _Drawing:
    """A bar drawn by rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("batch", total=None)
        self._bar.start()

    def update(self, report: Report) -> None:
        said = f"{report.answered} answered"
        if report.failed:
            said += f", {report.failed} failed"
        if report.skipped:
            said += f", {report.skipped} before"
        self._bar.update(self._task, total=report.total, completed=report.done, description=said)

    def close(self) -> None:
        self._bar.stop()
