"""The listening socket: newcomers are taken while there is room, and wait in the kernel's queue while there is none."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

_log = logging.getLogger(__name__)
_AT_ONCE = 64
"""Newcomers that are taken in one turn of the loop, so that a rush of them does not hold up open requests."""
_PAUSE_S = 0.5
_SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Accepts on one listening socket.

    Not asyncio's own server: it takes a whole queue of newcomers beyond any limit, and uvloop's ends for good, and
    silently, with the first error that `accept` reports, some of which say no more than that one newcomer has left.
    """

    def __init__(
        self, listener: socket.socket, make: Callable[[], asyncio.Protocol], room: Callable[[], int]
    ) -> None:
        """Prepare to accept; `resume` begins.

        Args:
            listener: listens, and does not block.
            make: returns what serves one connection.
            room: returns how many more may be taken.
        """
        self._listener = listener
        self._make = make
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._coming: set[asyncio.Task[None]] = set()
        self._accepting = False
        self._pause: asyncio.TimerHandle | None = None

    @property
    def coming(self) -> int:
        """Connections that were taken, and are not yet served."""
        return len(self._coming)

    def resume(self) -> None:
        """Accept from now on."""
        if not self._accepting and self._pause is None:
            self._accepting = True
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def halt(self) -> None:
        """Accept no more until told to."""
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listener.fileno())

    async def close(self) -> None:
        """Take who is in the queue, as far as there is room, and refuse those after; return once they are served."""
        if self._accepting:
            while self._take():
                pass
        self.halt()
        if self._pause is not None:
            self._pause.cancel()
        self._listener.close()
        if self._coming:
            await asyncio.wait(tuple(self._coming))

    def _accept(self) -> None:
        self._take()
        if self._accepting and self._room() <= 0:
            self.halt()

    def _take(self) -> bool:
        """Accept some; return whether there may be more, and room for them."""
        for _ in range(min(self._room(), _AT_ONCE)):
            try:
                made, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                if error.errno in _SHORT_OF:
                    _log.error("no connection can be accepted for %g s: %s", _PAUSE_S, error)
                    self.halt()
                    self._pause = self._loop.call_later(_PAUSE_S, self._go_on)
                    return False
                continue  # one newcomer's trouble: it left, or its network did (accept(2))
            made.setblocking(False)  # noqa: FBT003 - the standard library's signature
            task = self._loop.create_task(self._connect(made))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)
        return self._room() > 0

    def _go_on(self) -> None:
        self._pause = None
        self.resume()

    async def _connect(self, made: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, made)
        except OSError:
            made.close()  # it has left already
