"""`${NAME}`, `${NAME:-default}`, `${file:/path}` and `${cmd:program argument ...}` in configuration text."""

import re
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from trimtab.types import ConfigError

_REFERENCE = re.compile(r"\$(?:\$(?=\{)|\{([^}]*)\})")
"""`$${` stands for a literal `${`; anything else between `${` and `}` must be a reference."""

_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Reference(NamedTuple):
    """What stands between `${` and `}`."""

    kind: Literal["env", "file", "cmd"]
    name: str
    """The variable, the file's absolute path, or the command as written."""
    default: str | None = None


Read = Callable[[Reference], str]
"""Returns what a `file` or `cmd` reference stands for; see `Sources`."""


def not_here(reference: Reference) -> str:
    """Refuse: for texts that are only looked at, or stand where no file or command may be read.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"${{{reference.kind}:...}} cannot be used here; write the value, or ${{NAME}} for a variable"
    )


def expand(text: str, env: Mapping[str, str], read: Read = not_here) -> str:
    """Replace every reference by what it stands for.

    `${NAME}` becomes the environment's value, `${NAME:-default}` it or the default; an empty variable counts as
    unset, as in a shell's `:-`. `$${` gives a literal `${`. What a variable, file or command holds is not expanded
    again.

    Args:
        text: as the file has it.
        env: the environment.
        read: reads files and runs commands.

    Raises:
        ConfigError: a variable without a default is not set, a file or command gives nothing, or a reference is
            malformed.

    >>> expand("http://${HOST:-localhost}:${PORT}/", {"PORT": "80"})
    'http://localhost:80/'
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        reference = _parse(match[1])
        if reference.kind != "env":
            return read(reference)
        value = env.get(reference.name, "")
        if value or reference.default is not None:
            return value or reference.default or ""
        name = reference.name
        raise ConfigError(
            f"environment variable {name} is not set: export it, or write ${{{name}:-default}} in its place"
        )

    return _REFERENCE.sub(replace, text)


def references(text: str) -> list[str]:
    """Return the names of the variables that `text` needs and gives no default for.

    Raises:
        ConfigError: a reference is malformed.
    """
    return [r.name for r in all_references(text) if r.kind == "env" and r.default is None]


def all_references(text: str) -> list[Reference]:
    """Return every reference of a text, in its order.

    Raises:
        ConfigError: one is malformed.

    >>> all_references("${A}${file:/run/key}")
    [Reference(kind='env', name='A', default=None), Reference(kind='file', name='/run/key', default=None)]
    """
    return [_parse(m[1]) for m in _REFERENCE.finditer(text) if m[1] is not None]


def shown_reference(text: str) -> str:
    """Return a text that is nothing but references so that it may be shown; else nothing.

    A default may be a secret, and so may an argument of a command: a text with the first is not shown, of the second
    the program alone.

    >>> shown_reference("${A}"), shown_reference("${cmd:/bin/vault read -field=key x}"), shown_reference("${A:-x}")
    ('${A}', '${cmd:/bin/vault ...}', '')
    """
    shown = ""
    end = 0
    for match in _REFERENCE.finditer(text):
        if match.start() != end or match[1] is None:
            return ""
        end = match.end()
        try:
            reference = _parse(match[1])
        except ConfigError:
            return ""
        if reference.default is not None:
            return ""
        program, *rest = reference.name.split(maxsplit=1)  # any white space ends the program's name
        mark = {"env": "", "file": "file:", "cmd": "cmd:"}[reference.kind]
        name = f"{program} ..." if reference.kind == "cmd" and rest else reference.name
        shown += f"${{{mark}{name}}}"
    return shown if end == len(text) else ""


def _parse(inner: str) -> Reference:
    match = _NAME.fullmatch(inner)
    if match is not None:
        return Reference("env", match[1], match[2])
    kind, colon, rest = inner.partition(":")
    if kind == "file" and colon:
        if not rest.startswith("/") or "\0" in rest:
            raise ConfigError(
                "${file:...} names a file by its absolute path, such as ${file:/run/secrets/key}"
            )
        return Reference("file", rest)
    if kind == "cmd" and colon:
        if not rest.strip() or "\0" in rest:
            raise ConfigError("${cmd:...} names a program and its arguments, such as ${cmd:pass show key}")
        return Reference("cmd", rest.strip())
    raise ConfigError(
        f"${{{kind}{':...' if colon else ''}}} is no reference: write ${{NAME}} or ${{NAME:-default}} for an "
        "environment variable, ${file:/path}, ${cmd:program argument ...}, or $${ for the two characters themselves"
    )
