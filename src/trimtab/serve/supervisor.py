"""Starts the processes, keeps them running, and ends them in order."""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from trimtab.types import SystemClock

from . import platform
from .folder import Layout, clean_run
from .log import log
from .options import EXIT_INFRASTRUCTURE, EXIT_NO_RESTART, EXIT_OK, EXIT_USAGE, ChildOptions
from .rolling import Rolling
from .runfile import ChildState, Processes, write_processes
from .spawn import Child, exit_text

_LOOK_S = 0.5
"""How often to look around when no signal says that something happened."""

_END_S = 10.0
"""What control and model process may take to end, and what workers may take beyond the drain."""

_EMPTY_LOG_S = 60.0
"""What the recorder may take to empty the log at the end; what is left is stored at the next start."""

_GIVE_UP = 5
"""Deaths in a row of a child that was never ready, after which a start is given up."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the supervisor asks of whoever made the set of processes."""

    announce: Callable[[], None]
    """Called once, when everything is ready for the first time."""
    wants_model: Callable[[], bool]
    """Whether the own model's process is wanted now."""
    close_listeners: Callable[[], None]
    renewed: Callable[[], ChildOptions]
    """Reads the configuration again and returns the options of a worker; may raise ConfigError."""


class Supervisor:
    """Holds the set of processes. One thread: it sleeps until a signal or a life line wakes it."""

    def __init__(
        self,
        layout: Layout,
        children: list[Child],
        *,
        urls: tuple[str, str],
        wishes: Wishes,
    ) -> None:
        self._layout = layout
        self._children = children
        self._urls = urls
        self._wishes = wishes
        self._rolling = Rolling(children, wishes.renewed)
        self._clock = SystemClock()
        self._signals: list[int] = []
        self._had_terminal = platform.has_terminal()
        self._announced = False
        self._since_us: dict[str, int] = {}
        self._unwritten = False
        """Whether the list of processes could not be written the last time."""
        self._exit: int | None = None
        """Set once it is known that we end, and how."""

    def run(self) -> int:
        """Start everything, stay until a signal, end everything; return the exit status."""
        wake, waker = socket.socketpair()
        with wake, waker:
            for end in (wake, waker):
                end.setblocking(False)  # noqa: FBT003 - the standard library's signature
            old = {number: signal.signal(number, self._note_signal) for number in _SIGNALS}
            old_fd = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
            try:
                while self._exit is None:
                    self._turn(wake)
                self._end(wake)
                return self._exit
            finally:
                # Whatever went wrong above, nothing of ours stays behind.
                self._kill_all()
                signal.set_wakeup_fd(old_fd)
                for number, handler in old.items():
                    signal.signal(number, handler)
                clean_run(self._layout)

    def _note_signal(self, number: int, _frame: object) -> None:
        self._signals.append(number)

    def _turn(self, wake: socket.socket) -> None:
        changed = self._start_due()
        changed |= self._wait(wake)
        changed |= self._reap(restart=True)
        if self._announced:
            changed |= self._rolling.step()
        if changed or self._unwritten:
            self._write_state()
        if not self._announced and self._exit is None and self._all_ready():
            self._announced = True
            self._wishes.announce()
        for number in self._take_signals():
            if number in (signal.SIGTERM, signal.SIGINT):
                self._exit = EXIT_OK
            elif number == signal.SIGHUP:
                self._hang_up()
            elif number == signal.SIGUSR2:
                self._rolling.ask()

    def _hang_up(self) -> None:
        """SIGHUP asks for the configuration to be read again, unless it came because our terminal is gone."""
        if self._had_terminal and not platform.has_terminal():
            self._exit = EXIT_OK
            return
        for child in self._children:
            if child.options.kind == "control" and child.ready:
                log.info("reading the configuration again")
                child.signal(signal.SIGHUP)

    def _take_signals(self) -> list[int]:
        taken = [number for number in self._signals if number != signal.SIGCHLD]
        self._signals.clear()
        return taken

    def _all_ready(self) -> bool:
        return all(child.ready for child in self._children if child.options.vital)

    def _start_due(self) -> bool:
        started = False
        for child in self._children:
            if child.options.kind == "model" and child.pid == 0 and not self._wishes.wants_model():
                continue
            if child.start_at is None or child.start_at > time.monotonic():
                continue
            try:
                child.start()
            except OSError as error:
                log.error("%s cannot be started: %s", child.name, error.strerror)
                child.failures += 1
                child.plan_restart()
                continue
            self._since_us[child.name] = self._clock.now_us()
            started = True
        return started

    def _wait(self, wake: socket.socket) -> bool:
        """Sleep until something happens; return whether a child became ready."""
        now = time.monotonic()
        due = [max(0.0, child.start_at - now) for child in self._children if child.start_at is not None]
        # A model process that nobody wants is due all the time; it must not keep us awake.
        pause = min([_LOOK_S, *(d for d in due if d > 0)])
        lines = {line: child for child in self._children if (line := child.life_line()) is not None}
        readable, _, _ = select.select([wake, *lines], [], [], pause)
        if wake in readable:
            with suppress(BlockingIOError):
                wake.recv(4096)
        became_ready = [lines[line] for line in readable if line in lines and lines[line].hear()]
        for child in became_ready:
            if child.restarts or child.turn or child.options.kind == "model":
                log.info("%s is ready (pid %d)", child.name, child.pid)
        return bool(became_ready)

    def _reap(self, *, restart: bool) -> bool:
        changed = False
        for child in tuple(self._children):
            pid = child.pid
            was_ready = child.ready
            status = child.reap()
            if status is None:
                continue
            changed = True
            if child.options.kind == "worker" and status:
                self._settle(child.name)
            if restart:
                self._after_death(child, pid, status, was_ready=was_ready)
        return changed

    def _settle(self, name: str) -> None:
        """Take back what a killed worker had in flight: where it was leaving, no worker of its name follows it."""
        from trimtab.ledger import (
            settle,  # loaded where a worker was killed, and otherwise not held in memory
        )

        settle(self._layout.counters, name)

    def _after_death(self, child: Child, pid: int, status: int, *, was_ready: bool) -> None:
        how = f"{child.name} (pid {pid}) ended: {exit_text(status)}"
        if self._rolling.died(child, how):
            return
        if status == EXIT_NO_RESTART and not child.options.vital:
            # What it said stands in the log; everything else works without it.
            log.info("%s is tried again in %g s", child.name, child.plan_restart(patient=True))
            return
        if not self._announced and not was_ready and child.options.vital:
            if status == EXIT_NO_RESTART:
                self._exit = EXIT_USAGE
                return
            if child.failures >= _GIVE_UP:
                log.error(
                    "%s; it would not start %d times in a row, so this start is given up", how, _GIVE_UP
                )
                self._exit = EXIT_INFRASTRUCTURE
                return
        pause = child.plan_restart()
        log.warning("%s; starting it again in %.2f s (restart %d)", how, pause, child.restarts)

    def _write_state(self) -> None:
        states = tuple(
            ChildState(
                name=child.name,
                pid=child.pid,
                ready=child.ready,
                restarts=child.restarts,
                since_us=self._since_us.get(child.name, 0),
                turn=child.turn,
            )
            for child in self._children
        )
        gateway, console = self._urls
        try:
            write_processes(
                self._layout.run,
                Processes(
                    supervisor=os.getpid(),
                    gateway=gateway,
                    console=console,
                    children=states,
                    stopping=self._exit is not None,
                    rollout=self._rolling.state,
                ),
            )
        except OSError as error:
            # A full disk must not end the processes that still serve.
            if not self._unwritten:
                log.error(
                    "the list of processes cannot be written, and is as soon as it can: %s", error.strerror
                )
            self._unwritten = True
        else:
            self._unwritten = False

    def _end(self, wake: socket.socket) -> None:
        """End workers first, so that no call is cut; then the recorder, which empties the log, and who reads it."""
        drain_s = max((c.options.gateway.drain_s for c in self._children), default=0.0)
        if self._exit == EXIT_OK:
            log.info("stopping: open calls may take up to %g s; a second signal ends everything", drain_s)
        self._wishes.close_listeners()
        self._write_state()
        stages: tuple[tuple[Iterable[str], float], ...] = (
            (("worker",), drain_s + _END_S),
            (("control", "model"), _END_S),
            (("recorder",), _EMPTY_LOG_S),
            (("exporter",), _END_S),
        )
        for kinds, limit_s in stages:
            group = [c for c in self._children if c.options.kind in kinds]
            for child in group:
                child.signal(signal.SIGTERM)
            if not self._wait_for_end(group, limit_s, wake):
                return

    def _wait_for_end(self, group: list[Child], limit_s: float, wake: socket.socket) -> bool:
        """Return True when the group is gone, by force if need be; False after a second signal."""
        deadline = time.monotonic() + limit_s
        while any(child.pid for child in group):
            self._wait(wake)
            if self._reap(restart=False):
                self._write_state()
            if any(number in (signal.SIGTERM, signal.SIGINT) for number in self._take_signals()):
                log.warning("ending everything now")
                self._exit = EXIT_INFRASTRUCTURE
                return False
            if time.monotonic() > deadline:
                for child in group:
                    if child.pid:
                        log.warning(
                            "%s (pid %d) did not end within %g s; ended by force",
                            child.name,
                            child.pid,
                            limit_s,
                        )
                        child.kill()
                deadline = time.monotonic() + _END_S
        return True

    def _kill_all(self) -> None:
        for child in self._children:
            child.kill()
        for child in self._children:
            child.wait()
