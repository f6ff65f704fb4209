"""The `trimtab` command: one file per command group, a thin skin over `serve` and the gateway's HTTP.

Owns the command line's words, what it prints, and its exit codes: 0 done, 1 a check failed, 2 wrong usage,
3 could not find out, 130 interrupted.
Promises: results on stdout, everything else on stderr; `--json` on every listing, with stable fields; text
out of a model or the store never reaches the terminal as control characters; a failure is a line or two
that say what to do, not a traceback.
Never holds logic that another room would want, and never picks a storage backend.
Entry: `main`.
"""

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after `trimtab`; None takes them from the command line.
    """
    from .__main__ import main as run

    return run(arguments)
