"""What goes on in a thread of its own until a block ends; what fails there fails the block."""

import asyncio
import threading
from typing import ClassVar, Self

from trimtab.serve.child.server import run_async

PATIENCE_S = 20.0


class Busy:
    """Work without end: `_work` does it until `_stop` is set."""

    thread: ClassVar[str]

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=self.thread)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._failed = error

    def _work(self) -> None:
        raise NotImplementedError


class Serving:
    """A server on a loop of its own: `_serve` calls `_ready.set` once it serves, and returns once `_stop` is set."""

    thread: ClassVar[str]

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=self.thread)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S), f"the {self.thread} did not start"
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), f"the {self.thread} did not stop"
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            run_async(self._main)
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self._serve()
        return 0

    async def _serve(self) -> None:
        raise NotImplementedError
