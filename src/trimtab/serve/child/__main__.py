"""What every child process does first; started as `python -m trimtab.serve.child NAME --life FD`."""

import os
import signal
import sys

from trimtab.serve import platform
from trimtab.serve.log import log, set_up_log
from trimtab.serve.options import EXIT_INFRASTRUCTURE, EXIT_NO_RESTART, EXIT_OK, ChildOptions
from trimtab.types import ConfigError, TrimtabError

from .life import LifeLine

_AFTER_DRAIN_S = 15.0
"""What a child may take, beyond the drain, to end after its supervisor is gone; then it is ended."""


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
    if options.kind == "exporter":
        from .exporter import run_exporter

        return run_exporter(options, line)
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
