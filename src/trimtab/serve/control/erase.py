"""Erasing calls: asked of the recorder, which alone writes the store, and waited for."""

import asyncio
from typing import Final

from trimtab.ledger import ErasureResult, erasure_result, request_erasure
from trimtab.storage import Erasure
from trimtab.types import Overloaded, StorageError

from .room import Room

_WAIT_S: Final = 300.0
"""A search of the whole log and a rewrite of each day's word index: a second per 100,000 calls and 100 MB."""

_LOOK_S: Final = 0.05


async def erase(room: Room, what: Erasure, *, whole_project: bool = False) -> ErasureResult:
    """Have calls erased from log and store; return once no trace is left.

    Raises:
        Overloaded: the recorder has not come to it; it will, and the request need not be repeated.
        StorageError: the request cannot be written, or was refused.
    """
    request = await asyncio.to_thread(request_erasure, room.layout.log, what, whole_project=whole_project)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _WAIT_S
    while (result := await asyncio.to_thread(erasure_result, room.layout.log, request)) is None:
        if loop.time() > deadline:
            raise Overloaded(
                f"the recorder has not carried out the erasure within {_WAIT_S:g} s; it stays asked for, and "
                "`trimtab doctor` says what holds it up",
                retry_after_s=_WAIT_S,
            )
        await asyncio.sleep(_LOOK_S)
    if result.error:
        raise StorageError(result.error)
    room.erasures += 1
    return result


async def erase_project(room: Room, project: str) -> int:
    """Have all calls of a project erased; return how many the store had.

    Raises:
        Overloaded: see `erase`.
        StorageError: see `erase`.
    """
    return (await erase(room, Erasure(project=project), whole_project=True)).calls
