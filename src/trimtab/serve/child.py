"""What every child process does first; started as `python -m trimtab.serve.child NAME --life FD`."""

import logging
import os
import signal
import socket
import sys
import threading
import time

import msgspec

from trimtab.types import ConfigError, TrimtabError

from . import platform
from .options import EXIT_INFRASTRUCTURE, EXIT_NO_RESTART, EXIT_OK, ChildOptions
from .spawn import READY

log = logging.getLogger("trimtab")

_AFTER_DRAIN_S = 15.0
"""What a child may take, beyond the drain, to end after its supervisor is gone; then it is ended."""


class LifeLine:
    """The child's end of the socket pair between it and its supervisor."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.set_inheritable(False)

    def options(self) -> ChildOptions:
        """Read what the supervisor sent: one line of JSON.

        Raises:
            EOFError: the supervisor is gone.
        """
        line = b""
        while not line.endswith(b"\n"):
            piece = self._socket.recv(65536)
            if not piece:
                raise EOFError("the supervisor went away before it said what to do")
            line += piece
        return msgspec.json.decode(line, type=ChildOptions)

    def ready(self) -> None:
        """Tell the supervisor that this process does its work now."""
        try:
            self._socket.sendall(READY)
        except OSError:
            log.debug("the supervisor is gone; it will not hear that we are ready")

    def watch(self, grace_s: float) -> None:
        """From now on, end this process in order when the supervisor dies, and by force after `grace_s`."""
        threading.Thread(target=self._watch, args=(grace_s,), name="life-line", daemon=True).start()

    def _watch(self, grace_s: float) -> None:
        try:
            while self._socket.recv(64):
                pass
        except OSError:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(EXIT_INFRASTRUCTURE)


def stop_on_sigterm() -> threading.Event:
    """Return an event that SIGTERM sets; for children whose main thread is no event loop.

    A thread waits for the signal: a handler that ran in the main thread could find the event's lock held by the
    very code it interrupts.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    stop = threading.Event()

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        stop.set()

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
    return stop


def set_up_log(name: str) -> None:
    """Send log lines to stderr, each with the process's name."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s {name}: %(message)s", "%H:%M:%S"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def run(options: ChildOptions, line: LifeLine) -> int:
    """Do the work of one kind of child until told to stop; return the exit status."""
    if options.kind == "worker":
        from .worker import run_worker

        return run_worker(options, line)
    if options.kind == "control":
        from .control import run_control

        return run_control(options, line)
    if options.kind == "recorder":
        from .recorder import run_recorder

        return run_recorder(options, line)
    from .model import run_model_child

    return run_model_child(options, line)


def main(argv: list[str]) -> int:
    """Run a child process; `argv` is `[name, "--life", fd]`."""
    name, _, fd = argv
    # A Ctrl-C is the supervisor's to handle: it ends its children in the right order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
    set_up_log(name)
    line = LifeLine(int(fd))
    try:
        options = line.options()
    except (EOFError, OSError):
        return EXIT_OK
    platform.title_process(options.title)
    line.watch(options.gateway.drain_s + _AFTER_DRAIN_S)
    try:
        return run(options, line)
    except ConfigError as error:
        log.error("%s", error)
        return EXIT_NO_RESTART
    except TrimtabError as error:
        log.error("%s", error)
        return EXIT_INFRASTRUCTURE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
