"""Log lines of the processes: to stderr, each with its process's name."""

import logging
import sys

log = logging.getLogger("trimtab")


def set_up_log(name: str) -> None:
    """Send log lines to stderr under the process's name. Called once, by a process's entry function."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s {name}: %(message)s", "%H:%M:%S"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
