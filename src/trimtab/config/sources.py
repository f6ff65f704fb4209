"""What `${file:/path}` and `${cmd:program ...}` stand for: read once, and held as long as the reader is."""

import os
import shlex
import signal
import stat
import subprocess
import tempfile
from contextlib import suppress
from typing import Final

from trimtab.types import ConfigError

from .expand import Reference

COMMAND_S: Final = 10.0
"""How long a command may take."""

VALUE_BYTES: Final = 65_536
"""The longest value; a key has some hundred bytes, a certificate some thousand."""


class Sources:
    """Reads files and runs commands, each once. Make a new one to see what has changed since.

    No message shows what a file or command gave, nor a command's arguments or what it wrote to stderr: each may be a
    secret. May be used by several threads; two that ask for the same thing at once may both read it.
    """

    __slots__ = ("_command_s", "_held")

    def __init__(self, command_s: float = COMMAND_S) -> None:
        self._command_s = command_s
        self._held: dict[Reference, str] = {}

    def __call__(self, reference: Reference) -> str:
        """Return what a reference stands for, without white space around it.

        Raises:
            ConfigError: there is nothing to read, it is no text, or it took too long.
        """
        value = self._held.get(reference)
        if value is None:
            raw = _file(reference.name) if reference.kind == "file" else self._run(reference.name)
            value = self._held[reference] = _text(raw, _named(reference))
        return value

    def _run(self, command: str) -> bytes:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ConfigError(f"${{cmd:...}}: {error}; quotes come in pairs, as in a shell") from error
        name = f"${{cmd:{words[0]} ...}}" if words else "${cmd:...}"
        # Into a file: a pipe stays open, and is waited for, as long as any process that the command left behind.
        with tempfile.TemporaryFile() as out:
            try:
                child = subprocess.Popen(  # noqa: S603 - whoever writes the file may run any program here anyway
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except (OSError, IndexError) as error:
                why = error.strerror if isinstance(error, OSError) else "no program is named"
                raise ConfigError(
                    f"{name} cannot be started: {why}; name a program that is there, by its path"
                ) from None
            try:
                status = child.wait(self._command_s)
            except subprocess.TimeoutExpired:
                raise ConfigError(
                    f"{name} took more than {self._command_s:g} s, and was ended; make it faster, or write what it "
                    "prints into a file for ${file:/path}"
                ) from None
            finally:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            if status != 0:
                raise ConfigError(f"{name} ended with status {status}; run it in a shell to see what it says")
            out.seek(0)
            return out.read(VALUE_BYTES + 1)


def _file(path: str) -> bytes:
    try:
        # A pipe or device must not hold us up, nor be taken for a secret.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"${{file:{path}}} is no regular file; name one")
            return os.read(descriptor, VALUE_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(
            f"${{file:{path}}} cannot be read: {error.strerror}; check the path and its rights"
        ) from None


def _text(raw: bytes, name: str) -> str:
    if len(raw) > VALUE_BYTES:
        raise ConfigError(f"{name} gives more than {VALUE_BYTES} bytes; that is no value of a setting")
    try:
        value = raw.decode().strip()
    except UnicodeDecodeError:
        raise ConfigError(f"{name} gives what is not UTF-8; write the value as text") from None
    if not value or "\0" in value:
        raise ConfigError(
            f"{name} gives {'a NUL byte' if value else 'nothing'}; write the value there, as text"
        )
    return value


def _named(reference: Reference) -> str:
    if reference.kind == "file":
        return f"${{file:{reference.name}}}"
    return f"${{cmd:{reference.name.split()[0]} ...}}"
