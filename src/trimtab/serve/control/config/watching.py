"""Reading the configuration again because its file has changed: off unless `[reload] watch` is on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_S: Final = 1.0
"""Between two looks at the files; a change is taken up once two looks saw the same."""

Stamp = tuple[tuple[int, int, int], ...]


async def watch(
    watched: Callable[[], tuple[Path, ...]],
    asked: asyncio.Event,
    look_s: float = LOOK_S,
    *,
    read: Callable[[], Stamp | None] | None = None,
) -> None:
    """Set an event when a watched file has changed and come to rest, until cancelled.

    Args:
        watched: the files; asked before each look, for a reading may change them.
        asked: set to ask for a reading.
        look_s: seconds between two looks.
        read: says how the files looked when they were last read: what changed before the first look counts too.
    """
    files = watched()
    taken = seen = stamps(files)
    while True:
        await asyncio.sleep(look_s)
        if watched() != files:
            files = watched()
            taken = seen = stamps(files) if read is None else read()
            continue
        now = stamps(files)
        # A file that is gone or still being written is left until it is there and at rest.
        if now is not None and now == seen and now != taken:
            taken = now
            asked.set()
        seen = now


def stamps(files: tuple[Path, ...]) -> Stamp | None:
    """Return what tells a changed file from one that stayed; None where one is missing."""
    try:
        found = [path.stat() for path in files]
    except OSError:
        return None
    return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in found)
