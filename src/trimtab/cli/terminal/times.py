"""Times and durations as people write and read them."""

import re
from datetime import UTC, datetime, timedelta

from .failure import CommandFailed

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"(\d+)([smhdw])")


def parse_when(text: str, now_us: int) -> int:
    """Return a moment in microseconds since 1970.

    Args:
        text: how long ago (`90s`, `15m`, `1h`, `2d`, `1w`), a day (`2026-11-23`) or a time
            (`2026-11-23T14:30`, with or without offset). Without an offset it is local time.
        now_us: what "ago" counts from.

    Raises:
        CommandFailed: the text is none of these.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago:
            past = timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return max(0, now_us - past // timedelta(microseconds=1))
        moment = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandFailed(
            f"{text!r} is no time",
            mend="write 15m, 1h or 2d for how long ago, or a date such as 2026-11-23 or 2026-11-23T14:30",
            exit_code=2,
        ) from None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def show_time(at_us: int, now_us: int, *, brief: bool = False) -> str:
    """Return a moment in local time: the hour alone where it is of the last 12 hours, else with its day.

    Args:
        at_us: the moment.
        now_us: the present.
        brief: leave out the year and the seconds of what is older.
    """
    moment = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone()
    if 0 <= now_us - at_us < 12 * 3600 * 1_000_000:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%m-%d %H:%M}" if brief else f"{moment:%Y-%m-%d %H:%M:%S}"


def show_iso(at_us: int) -> str:
    """Return a moment in UTC, ISO 8601, to the microsecond: what `--json` says."""
    seconds, micros = divmod(at_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def show_duration(ms: float | None) -> str:
    """Return a duration for people.

    >>> show_duration(3.21), show_duration(812), show_duration(2340), show_duration(75_000)
    ('3.2 ms', '812 ms', '2.3 s', '1 m 15 s')
    """
    if ms is None:
        return "-"
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes} m {seconds} s"
