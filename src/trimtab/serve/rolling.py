"""The rolling restart: workers are replaced one after the other, while all of them serve."""

import signal
import time
from collections.abc import Callable

from trimtab.types import ConfigError

from .log import log
from .options import GRACE_S, ChildOptions
from .runfile import Rollout
from .spawn import Child

_LEAVE_S = 15.0
"""What a worker may take to end, beyond the grace and the drain."""

_READY_S = 60.0
"""How long a replacement may take to be ready, before the rolling restart is given up."""


class Rolling:
    """Replaces each worker by a new process on the same listening socket; a step at a time, never waiting.

    A replacement is started, and once it is ready the one before it is told to retire: it accepts no more, answers
    what its clients still ask, and ends. Only one replacement starts at a time, so that the machine's cores are left to
    the calls. A replacement that does not become ready ends the whole: what was there goes on.
    """

    def __init__(self, children: list[Child], renewed: Callable[[], ChildOptions]) -> None:
        """Prepare.

        Args:
            children: the supervisor's, which is changed here.
            renewed: reads the configuration again and returns a worker's options; may raise ConfigError.
        """
        self._children = children
        self._renewed = renewed
        self._options: ChildOptions | None = None
        self._waiting: list[Child] = []
        self._old: Child | None = None
        self._new: Child | None = None
        self._asked = False
        self._give_up_at = 0.0
        self.state = Rollout()

    def ask(self) -> None:
        """Ask for one; it begins when the one before it, leaving workers included, is over."""
        self._asked = True

    def step(self) -> bool:
        """Go on as far as possible now; return whether something changed."""
        self._end_late()
        if not self.state.under_way:
            if not self._asked or any(child.turn for child in self._children):
                return False
            self._begin()
            return True
        if self._new is None:
            if not self._waiting:
                self._finish()
            else:
                self._replace(self._waiting.pop(0))
            return True
        return self._look_at(self._new)

    def died(self, child: Child, how: str) -> bool:
        """Deal with the death of a worker that takes part; return whether it did, and is not to be started again."""
        if child.turn == "leaving":
            self._children.remove(child)
            log.info("%s has finished its calls", how)
            return True
        if child is self._new:
            self._children.remove(child)
            self._finish(f"{how} before it was ready; the log says why")
            return True
        return False

    def _begin(self) -> None:
        self._asked = False
        self.state = Rollout(number=self.state.number + 1, under_way=True)
        try:
            self._options = self._renewed()
        except ConfigError as error:
            self._finish(error.message)
            return
        self._waiting = [child for child in self._children if child.options.kind == "worker"]
        log.info("replacing %d workers, one after the other", len(self._waiting))

    def _replace(self, old: Child) -> None:
        assert self._options is not None
        self._old, self._new = old, old.successor(self._options)
        self._children.append(self._new)
        self._give_up_at = time.monotonic() + _READY_S

    def _look_at(self, new: Child) -> bool:
        old = self._old
        assert old is not None
        if new.ready:
            new.turn, old.turn = "", "leaving"
            old.start_at = None
            old.leave_by = time.monotonic() + GRACE_S + old.options.gateway.drain_s + _LEAVE_S
            self._new = self._old = None
            number = self.state.replaced + 1
            self.state = Rollout(number=self.state.number, under_way=True, replaced=number)
            if old.pid:
                old.signal(signal.SIGUSR2)
            else:
                self._children.remove(old)  # it had died, and its place is taken
            return True
        if time.monotonic() < self._give_up_at:
            return False
        new.kill()
        new.wait()
        self._children.remove(new)
        self._finish(f"{new.name} was not ready within {_READY_S:g} s")
        return True

    def _end_late(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.turn == "leaving" and now > child.leave_by:
                log.warning("%s (pid %d) did not end; ended by force", child.name, child.pid)
                child.leave_by = now + _LEAVE_S
                child.kill()

    def _finish(self, error: str = "") -> None:
        self._new = self._old = None
        self._waiting = []
        self.state = Rollout(number=self.state.number, replaced=self.state.replaced, error=error)
        if error:
            log.error("the rolling restart is given up, the workers that are there go on: %s", error)
        else:
            log.info("%d workers are replaced", self.state.replaced)
