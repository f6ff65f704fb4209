"""`trimtab completion`: completion for the user's shell."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from .terminal import CommandFailed, note, write


def completion(
    shell: Literal["bash", "zsh", "fish"] | None = None,
    /,
    *,
    show: Annotated[bool, Parameter(name="--print", negative=())] = False,
    startup: bool = True,
) -> int:
    """Install completion for your shell.

    Args:
        shell: Which shell; else the one that this runs in.
        show: Print the script instead of installing it.
        startup: Add the line that loads it to the shell's start-up file (bash and zsh need it).
    """
    from cyclopts.completion import ShellDetectionError

    from .app import build_app

    app = build_app()
    try:
        if show:
            write(app.generate_completion(shell=shell), end="")
            return 0
        path: Path = app.install_completion(shell=shell, add_to_startup=startup)
    except ShellDetectionError:
        raise CommandFailed(
            "could not tell which shell this is",
            mend="name it: trimtab completion bash|zsh|fish",
            exit_code=2,
        ) from None
    except OSError as error:
        raise CommandFailed(f"could not write the completion script: {error}", mend="see --print") from error
    note(f"Completion stands in {path}; it works in every shell started from now on.")
    return 0
