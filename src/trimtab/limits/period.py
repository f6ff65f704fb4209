"""Budget periods: hours, days, weeks and months of the UTC calendar."""

from datetime import UTC, datetime, timedelta

from trimtab.types import BudgetPeriod

FOREVER_US = 1 << 62
"""The end of a period that never ends."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


def period_of(period: BudgetPeriod, at_us: int) -> tuple[int, int]:
    """Return (start, end) of the period that a moment lies in, in microseconds since 1970; the end is exclusive.

    >>> period_of("month", 1_735_700_000_000_000)
    (1735689600000000, 1738368000000000)
    """
    if period == "total":
        return 0, FOREVER_US
    now = _EPOCH + timedelta(microseconds=at_us)
    start = now.replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return _us(start), _us(start + timedelta(hours=1))
    start = start.replace(hour=0)
    if period == "day":
        return _us(start), _us(start + timedelta(days=1))
    if period == "week":
        start -= timedelta(days=start.weekday())
        return _us(start), _us(start + timedelta(days=7))
    start = start.replace(day=1)
    return _us(start), _us((start + timedelta(days=32)).replace(day=1))


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _US
