"""Reading the configuration again because its file has changed: off unless `[reload] watch` is on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_S: Final = 1.0
"""Between two looks at the files; a change is taken up once two looks saw the same."""

_Stamp = tuple[tuple[int, int, int], ...]


async def watch(
    watched: Callable[[], tuple[Path, ...]], asked: asyncio.Event, look_s: float = LOOK_S
) -> None:
    """Set an event when a watched file has changed and come to rest, until cancelled.

    Args:
        watched: the files; asked before each look, for a reading may change them.
        asked: set to ask for a reading.
        look_s: seconds between two looks.
    """
    files = watched()
    taken = seen = _stamps(files)
    while True:
        await asyncio.sleep(look_s)
        if watched() != files:
            files = watched()
            taken = seen = _stamps(files)
            continue
        now = _stamps(files)
        # A file that is gone or still being written is left until it is there and at rest.
        if now is not None and now == seen and now != taken:
            taken = now
            asked.set()
        seen = now


def _stamps(files: tuple[Path, ...]) -> _Stamp | None:
    try:
        found = [path.stat() for path in files]
    except OSError:
        return None
    return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in found)
