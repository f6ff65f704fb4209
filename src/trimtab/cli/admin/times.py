"""Times of the admin API's rows, for people."""

from typing import Any

from trimtab.cli.terminal import show_time


def with_times(rows: list[dict[str, Any]], now_us: int) -> list[dict[str, Any]]:
    """Return rows with a field `time`, made of `at_us`."""
    return [row | {"time": show_time(int(row["at_us"]), now_us)} for row in rows]
