"""The child's end of the life line, and the signals that end it."""

import os
import signal
import socket
import threading
import time

import msgspec

from trimtab.serve.log import log
from trimtab.serve.options import EXIT_INFRASTRUCTURE, READY, ChildOptions


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
        # The thread inherits the mask: a SIGTERM that reached it would end the process at once, instead of
        # reaching whoever waits for it (`stop_on_sigterm`).
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=self._watch, args=(grace_s,), name="life-line", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

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

    A thread waits for the signal: a handler that ran in the main thread could find the event's lock held by
    the very code it interrupts.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    stop = threading.Event()

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        stop.set()

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
    return stop
