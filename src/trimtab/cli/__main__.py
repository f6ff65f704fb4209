"""The command's entry: runs the app and turns what went wrong into two lines and an exit code."""

import os
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import CycloptsError

    from trimtab.types import TrimtabError

    from .terminal import CommandFailed

EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3
"""Could not find out: something outside of the command's own question failed."""
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
"""128 + SIGPIPE: what a shell reports of `trimtab calls | head`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after `trimtab`; None takes them from the command line.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        # Scripts ask this often; it need not load anything.
        from trimtab import __version__

        print(__version__)
        return 0
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A terminal that is not UTF-8 gets escapes instead of a UnicodeEncodeError.
            reconfigure(errors="backslashreplace")
    try:
        return _run(words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Else Python complains once more when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED


def _run(words: list[str]) -> int:
    from cyclopts import CycloptsError

    from trimtab.types import TrimtabError

    from .app import build_app
    from .terminal import CommandFailed

    try:
        result = build_app(whole=words[:1] in ([], ["--help"], ["-h"]))(words)
    except CommandFailed as error:
        failure = error
    except CycloptsError as error:
        see = "see `trimtab --help` or `trimtab COMMAND --help`"
        failure = CommandFailed(_usage_text(error), mend=see, exit_code=EXIT_USAGE, code="wrong_usage")
    except TrimtabError as error:
        failure = CommandFailed(error.message, exit_code=exit_code_of(error), code=error.code)
    else:
        return result if isinstance(result, int) else 0
    return _failed(failure, as_json="--json" in takewhile(lambda word: word != "--", words))


def exit_code_of(error: "TrimtabError") -> int:
    """Return the exit code that an error means.

    A thing that is not there is 1, a fault in what was asked or configured 2, anything else 3.
    """
    from trimtab.types import CallerError, ConfigError, NotFound

    if isinstance(error, NotFound):
        return EXIT_CHECK_FAILED
    return EXIT_USAGE if isinstance(error, (CallerError, ConfigError)) else EXIT_UNKNOWN


def _failed(failure: "CommandFailed", *, as_json: bool) -> int:
    from .terminal import note, write_json

    if as_json:  # whoever reads JSON reads why there is none of the usual kind as JSON too
        said = {"code": failure.code, "message": failure.message, "mend": failure.mend}
        write_json({"error": said})
    note(f"error: {failure.message}", "red")
    if failure.mend:
        note(f"  {failure.mend}")
    return failure.exit_code


def _usage_text(error: "CycloptsError") -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
