"""Options that several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which installation a command is about."""

    data: Annotated[Path | None, Parameter(help="Data folder; overrides the configuration's.")] = None
    config: Annotated[
        Path | None, Parameter(help="Configuration file; else the nearest trimtab.toml at or above here.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Which calls a limit or a budget holds for; what is not given matches any."""

    key: Annotated[str, Parameter(help="Only calls with this key: its id or name.")] = ""
    project: Annotated[str, Parameter(help="Only calls of this project.")] = ""
    route: Annotated[str, Parameter(help="Only calls to this route.")] = ""
    model: Annotated[str, Parameter(help="Only calls to this model: `provider/model` or `provider/*`.")] = ""

    def fields(self) -> dict[str, str]:
        """Return them as the admin API names them."""
        return {"key": self.key, "project": self.project, "route": self.route, "model": self.model}


AtMost = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))]
"""How many of something, in one answer of the admin API."""

AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON with stable fields.")]
