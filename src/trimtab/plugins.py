"""The plugin table: names are known without importing anything; a plugin is loaded when first asked for.

Owns the entry-point groups. Built-ins stand in the same table as plugins of others: no privileged path.
Promises: an unknown name is answered with the known ones, a missing extra with the line that installs it.
Never imports a plugin to list it.
Entry: `load(group, name)`; `entries(group)` to look.
"""

import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from trimtab.types import ConfigError

GROUPS = (
    "trimtab.providers",
    "trimtab.rails",
    "trimtab.validators",
    "trimtab.scorers",
    "trimtab.monitors",
    "trimtab.sinks",
    "trimtab.runtimes",
    "trimtab.tuners",
)
"""One entry-point group per port."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table."""

    target: str
    """`module:object`."""
    extra: str
    """What to `pip install` for it, such as `trimtab[local]`; empty where nothing more is needed."""


def entries(group: str) -> dict[str, Entry]:
    """Return the rows of a group by name. Reads the installed packages' metadata: about 10 ms.

    Raises:
        ConfigError: there is no such group.
    """
    return {
        name: Entry(point.value.split("[")[0].strip(), _extra(point))
        for name, point in _points(group).items()
    }


def load(group: str, name: str) -> Any:  # noqa: ANN401 - each group's port says what its plugins are
    """Import a plugin and return it.

    Raises:
        ConfigError: no such group or name, the plugin needs an extra that is not installed, or its package is
            broken.
    """
    points = _points(group)
    if name not in points:
        known = ", ".join(sorted(points)) or "none"
        kind = group.removeprefix("trimtab.")
        raise ConfigError(
            f"{kind}: {name!r} is not installed; known: {known}. Correct the name, or install the "
            f"package that has an entry point of that name in the group {group!r}"
        )
    point = points[name]
    try:
        return point.load()
    except ImportError as error:
        extra = _extra(point)
        mend = f"run: pip install '{extra}'" if extra else f"reinstall the package of {point.value!r}"
        raise ConfigError(f"{name!r} of {group} cannot be loaded: {error}; {mend}") from error
    except AttributeError as error:
        raise ConfigError(
            f"{name!r} of {group} points at {point.value!r}, which does not exist: {error}"
        ) from error


def _points(group: str) -> dict[str, EntryPoint]:
    if group not in GROUPS:
        raise ConfigError(f"{group!r} is no plugin group; there are: {', '.join(GROUPS)}")
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise ConfigError(
                f"{point.name!r} of {group} is claimed by {other.value!r} and {point.value!r}; "
                "uninstall one of the two packages"
            )
    return found


def _extra(point: EntryPoint) -> str:
    if not point.extras or point.dist is None:
        return ""
    # Metadata may spell the name in capitals or with underscores; pip takes any, people read this one.
    name = re.sub(r"[-_.]+", "-", point.dist.name).lower()
    return f"{name}[{','.join(point.extras)}]"
