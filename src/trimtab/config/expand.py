"""`${NAME}` and `${NAME:-default}` in configuration text."""

import re
from collections.abc import Mapping

from trimtab.types import ConfigError

_REFERENCE = re.compile(r"\$(?:\$(?=\{)|\{([^}]*)\})")
"""`$${` stands for a literal `${`; anything else between `${` and `}` must be a reference."""

_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace every `${NAME}` by the environment's value, `${NAME:-default}` by it or the default.

    An empty variable counts as unset, as in a shell's `:-`. `$${` gives a literal `${`. What a variable holds
    is not expanded again.

    Raises:
        ConfigError: a variable without a default is not set, or a reference is malformed.

    >>> expand("http://${HOST:-localhost}:${PORT}/", {"PORT": "80"})
    'http://localhost:80/'
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        name, default = _parse(match[1])
        value = env.get(name, "")
        if value or default is not None:
            return value or default or ""
        raise ConfigError(
            f"environment variable {name} is not set: export it, or write ${{{name}:-default}} in its place"
        )

    return _REFERENCE.sub(replace, text)


def references(text: str) -> list[str]:
    """Return the names of the variables that `text` needs and gives no default for.

    Raises:
        ConfigError: a reference is malformed.
    """
    parsed = (_parse(m[1]) for m in _REFERENCE.finditer(text) if m[1] is not None)
    return [name for name, default in parsed if default is None]


def _parse(inner: str) -> tuple[str, str | None]:
    match = _NAME.fullmatch(inner)
    if match is None:
        raise ConfigError(
            f"${{{inner}}} is no reference to an environment variable: write ${{NAME}} or "
            "${NAME:-default}, or $${ for the two characters themselves"
        )
    return match[1], match[2]
