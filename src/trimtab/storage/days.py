"""Which file a call goes to, and where in it: both follow from its id alone. Pure.

A day is UTC, by the milliseconds inside the UUIDv7. A call's place is an integer in the order of the ids:
27 bits of milliseconds since midnight, then the id's 20 bits after its version digit. Two ids can claim one
place (for two of one millisecond, a chance of 1 in 10^5); the later comer then takes the next free one above.
"""

import re
from datetime import date

from trimtab.types import StorageError

MS_PER_MINUTE = 60_000
MS_PER_HOUR = 60 * MS_PER_MINUTE
MS_PER_DAY = 24 * MS_PER_HOUR
PLACE_BITS = 20
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal() - _EPOCH_ORDINAL
_DAY_NAME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_FILE_NAME = re.compile(r"calls-([0-9]{8})(?:-([1-9][0-9]*))?\.db")


def id_blob(call_id: str) -> bytes:
    """Return a UUIDv7 as its 16 bytes, which sort like its time.

    Raises:
        ValueError: the text is no UUIDv7, or its time lies beyond the year 9999.
    """
    try:
        blob = bytes.fromhex(call_id.replace("-", ""))
    except ValueError:
        blob = b""
    if len(blob) != 16 or blob[6] >> 4 != 7 or id_ms(blob) // MS_PER_DAY > _LAST_DAY:
        raise ValueError(
            f"call id {call_id!r} is no UUIDv7, so it has no day to be stored under; use types.new_id"
        )
    return blob


def id_text(blob: bytes) -> str:
    """Return 16 bytes as a UUID's 36 characters."""
    digits = blob.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_ms(blob: bytes) -> int:
    """Return the time inside a UUIDv7, in milliseconds since 1970."""
    return int.from_bytes(blob[:6], "big")


def place_of(blob: bytes) -> int:
    """Return the place an id claims in its day's file."""
    return place_floor(id_ms(blob)) | (int.from_bytes(blob[6:9], "big") & 0xFFFFF)


def place_floor(ms: int) -> int:
    """Return the lowest place of a millisecond since 1970."""
    return (ms % MS_PER_DAY) << PLACE_BITS


def day_name(day: int) -> str:
    """Return a day, counted from 1970, as YYYYMMDD."""
    return date.fromordinal(_EPOCH_ORDINAL + day).strftime("%Y%m%d")


def day_number(name: str) -> int:
    """Return the day, counted from 1970, of a YYYYMMDD.

    Raises:
        StorageError: the text is no such date.
    """
    match = _DAY_NAME.fullmatch(name)
    try:
        if match is not None:
            return date(*map(int, match.groups())).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        pass  # such as month 13
    raise StorageError(f"day {name!r} is no date; expected YYYYMMDD, such as 20261101")


def file_name(day: int, part: int) -> str:
    """Return the name of a day's first, second, ... file."""
    return f"calls-{day_name(day)}.db" if part == 1 else f"calls-{day_name(day)}-{part}.db"


def parse_file_name(name: str) -> tuple[int, int] | None:
    """Return (day, part) of a day file's name; None where it is another file's."""
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return day_number(match[1]), int(match[2] or 1)
    except StorageError:
        return None
