"""Figures, money, times and names as people read them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trimtab.types import NUSD_PER_USD

NOTHING = "–"
"""Stands where there is no value: a dash is not a zero."""


def number(value: float | None) -> str:
    """Return a count with its thousands set apart.

    >>> number(1234567), number(None)
    ('1,234,567', '–')
    """
    return NOTHING if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """Return a count in three digits or so.

    >>> short(999), short(12_340), short(3_456_000)
    ('999', '12.3k', '3.46M')
    """
    if value is None:
        return NOTHING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (1e3 if unit == "k" else size)
            return f"{scaled:.3g}{unit}" if scaled < 1000 else f"{scaled:,.0f}{unit}"
    return f"{value:,.0f}"


def usd(nusd: int | None) -> str:
    """Return money in USD, with as many digits as say something.

    >>> usd(24_750), usd(1_500_000_000), usd(0), usd(1_234_567_890_000), usd(140)
    ('$0.00002', '$1.50', '$0', '$1,235', '<$0.00001')
    """
    if nusd is None:
        return NOTHING
    value = nusd / NUSD_PER_USD
    if not value:
        return "$0"
    if abs(value) >= 1000:
        return f"${value:,.0f}"
    if abs(value) >= 1:
        return f"${value:,.2f}"
    if abs(value) < 0.00001:
        return "<$0.00001"
    return f"${value:.5f}" if abs(value) < 0.01 else f"${value:.4f}"


def duration(ms: float | None) -> str:
    """Return a duration in the unit that fits.

    >>> duration(0.42), duration(812.3), duration(4210), duration(150_000), duration(9_000_000)
    ('0.4 ms', '812 ms', '4.21 s', '2.5 min', '2.5 h')
    """
    if ms is None:
        return NOTHING
    if ms < 1000:
        return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"
    if ms < 120_000:
        return f"{ms / 1000:.2f} s" if ms < 10_000 else f"{ms / 1000:.1f} s"
    minutes = ms / 60_000
    if minutes < 120:
        return f"{minutes:.1f} min"
    return f"{minutes / 60:.1f} h" if minutes < 2880 else f"{minutes / 1440:.1f} d"


def percent(share: float | None) -> str:
    """Return a share of 1 in percent.

    >>> percent(0.0123), percent(0.5), percent(0), percent(0.00001)
    ('1.2 %', '50 %', '0 %', '<0.1 %')
    """
    if share is None:
        return NOTHING
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{share * 100:.1f} %" if 0 < share < 0.1 else f"{share * 100:.0f} %"


def change(now: float | None, before: float | None) -> str:
    """Return how much more or less there is than before, in percent; empty where that says nothing.

    >>> change(112, 100), change(50, 100), change(100, 100), change(30, 2), change(1, 0), change(None, 1)
    ('+12 %', '−50 %', '±0 %', '×15', '', '')
    """
    if now is None or not before:
        return ""
    ratio = now / before
    if ratio >= 10:
        return f"×{ratio:.0f}"
    percents = round((ratio - 1) * 100)
    return f"+{percents} %" if percents > 0 else f"−{-percents} %" if percents < 0 else "±0 %"


def size(count: int | None) -> str:
    """Return bytes in the unit that fits.

    >>> size(900), size(2_048_000)
    ('900 B', '2.0 MB')
    """
    if count is None:
        return NOTHING
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name (IANA), UTC where there is none such."""
    if not name or len(name) > 64:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def moment(us: int, zone: tzinfo) -> datetime:
    """Return a time in a zone."""
    return datetime.fromtimestamp(us / 1_000_000, zone)


def date_time(us: int, zone: tzinfo) -> str:
    """Return a day and a time to the second; empty for 0, which stands for never."""
    return moment(us, zone).strftime("%Y-%m-%d %H:%M:%S") if us else NOTHING


def iso(us: int) -> str:
    """Return a time in UTC for machines, to the millisecond."""
    return moment(us, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "number": number,
        "figure": lambda value: f"{value:g}",
        "short": short,
        "usd": usd,
        "duration": duration,
        "percent": percent,
        "change": change,
        "size": size,
        "iso": iso,
    }
)
"""What templates may use on a value."""
