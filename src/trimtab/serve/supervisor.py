"""`trimtab up`: starts the processes, keeps them running, and ends them in order."""

import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from trimtab.config import Config, find_file, load_config
from trimtab.types import ConfigError, StorageError, SystemClock, TrimtabError

from . import platform
from .child import set_up_log
from .folder import FolderLock, Layout, clean_run
from .options import (
    EXIT_INFRASTRUCTURE,
    EXIT_NO_RESTART,
    EXIT_OK,
    EXIT_USAGE,
    ChildKind,
    ChildOptions,
    UpOptions,
)
from .runfile import ChildState, Processes, write_processes
from .spawn import Child, exit_text

log = logging.getLogger("trimtab")

_LOOK_S = 0.5
"""How often to look around when no signal says that something happened."""

_END_S = 10.0
"""What control and model process may take to end."""

_EMPTY_LOG_S = 60.0
"""What the recorder may take to empty the log at the end; what is left is stored at the next start."""


class PortTaken(TrimtabError):
    """Something else listens where the gateway or the console should."""

    code = "port_taken"


def up(options: UpOptions) -> int:
    """Run Trimtab in the foreground until a signal ends it; return the exit status.

    0: ended in order. 2: the configuration is at fault. 3: the folder is held, a port is taken, or a process would
    not start.
    """
    set_up_log("trimtab")
    try:
        platform.refuse_unsupported()
        config = configure(options)
        layout = Layout(config.data_dir)
        layout.make()
        with FolderLock(layout) as lock:
            lock.acquire(say=log.info)
            check_ports(config)
            clean_run(layout)
            return Supervisor(config, layout, lock.fd).run()
    except ConfigError as error:
        log.error("%s", error)
        return EXIT_USAGE
    except (StorageError, PortTaken) as error:
        log.error("%s", error)
        return EXIT_INFRASTRUCTURE


def configure(options: UpOptions) -> Config:
    """Load the configuration and lay the command line's options over it.

    Raises:
        ConfigError: it cannot be used.
    """
    config = load_config(find_file(options.config), env=os.environ, data_dir=options.data)
    gateway = {"host": options.host, "port": options.port, "workers": options.workers}
    console = {"port": options.console_port}
    return msgspec.structs.replace(
        config,
        gateway=msgspec.structs.replace(config.gateway, **{k: v for k, v in gateway.items() if v is not None}),
        console=msgspec.structs.replace(config.console, **{k: v for k, v in console.items() if v is not None}),
    )


def check_ports(config: Config) -> None:
    """Refuse a start that could not listen.

    Raises:
        PortTaken: with the port and the mend.
    """
    if config.gateway.port == config.console.port:
        raise ConfigError(f"gateway and console cannot share port {config.gateway.port}; change one of the two")
    for host, port, option in (
        (config.gateway.host, config.gateway.port, "--port"),
        (config.console.host, config.console.port, "--console-port"),
    ):
        problem = platform.port_problem(host, port)
        if problem:
            raise PortTaken(f"cannot listen on {host} port {port}: {problem}; choose another with {option}")


def url(host: str, port: int) -> str:
    """Return the base URL of a listener, as a program on this machine would call it."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


class Supervisor:
    """Holds the set of processes. One thread: it sleeps until a signal or a life line wakes it."""

    def __init__(self, config: Config, layout: Layout, lock_fd: int) -> None:
        self._config = config
        self._layout = layout
        self._clock = SystemClock()
        self._children = [
            Child(self._options(kind, index), lock_fd) for kind, index in plan(config.gateway.workers)
        ]
        self._signals: list[int] = []
        self._had_terminal = platform.has_terminal()
        self._announced = False
        self._started_us: dict[str, int] = {}

    def run(self) -> int:
        """Start everything, stay until a signal, end everything. Returns the exit status."""
        platform.title_process("trimtab: supervisor")
        platform.raise_open_files()
        wake, waker = socket.socketpair()
        with wake, waker:
            wake.setblocking(False)
            waker.setblocking(False)
            signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, self._on_signal)
            try:
                return self._supervise(wake)
            finally:
                # Whatever went wrong above, nothing of ours stays behind.
                for child in self._children:
                    child.kill()
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                clean_run(self._layout)
