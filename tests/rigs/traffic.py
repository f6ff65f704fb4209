"""Clients that call without pause, in a thread of their own, and what became of each call."""

import asyncio
import itertools
from collections.abc import Callable
from typing import NamedTuple

from trimtab.testing import Pace, Scripted
from trimtab.testing.reply import Ask
from trimtab.types import Usage

from .caller import Question, Seen, call, judge
from .house import until
from .threads import Busy

_PIECES = tuple(f"piece {n} " for n in range(12))


def usage_of(marker: str) -> tuple[int, int]:
    """The tokens that the provider reports for a call: others for every call."""
    number = int(marker.rpartition(" ")[2])
    return 1000 + number, 1 + number % 977


def answer(ask: Ask) -> Scripted:
    """The provider's script: answers of some 50 ms, so that whatever is done strikes in their middle."""
    told, out = usage_of(ask.last_message("user"))
    pace = Pace(before_head_s=0.01, between_s=0.003) if ask.stream else Pace(before_head_s=0.03)
    return Scripted(text=_PIECES, usage=Usage(input_tokens=told, output_tokens=out), pace=pace)


class Asker(NamedTuple):
    """One client: what it asks, by a number that no other call has, and its pause between two calls."""

    question: Callable[[int], Question]
    pause_s: float = 0.02


class Traffic(Busy):
    """Askers at work until the block ends; `seen` is what became of each call, as it ended."""

    thread = "traffic"

    def __init__(self, port: int, askers: list[Asker]) -> None:
        self.seen: list[Seen] = []
        self._port = port
        self._askers = askers
        self._numbers = itertools.count()

    @property
    def answered(self) -> int:
        return sum(seen.answered for seen in tuple(self.seen))

    def wait_for(self, more: int) -> None:
        """Wait for so many more answers."""
        wanted = self.answered + more
        until(lambda: self._failed or self.answered >= wanted, f"{wanted} answers", 120)

    def _work(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        async with asyncio.TaskGroup() as group:
            for asker in self._askers:
                group.create_task(self._ask(asker))

    async def _ask(self, asker: Asker) -> None:
        while not self._stop.is_set():
            seen = await call(self._port, asker.question(next(self._numbers)))
            if seen.answered and seen.question.comment:
                await judge(self._port, seen)
            self.seen.append(seen)
            # A refused connection means that nobody listens at the moment: no use in asking without pause.
            await asyncio.sleep(asker.pause_s if seen.status else 0.1)
