"""Options that several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which installation a command is about."""

    data: Annotated[Path | None, Parameter(help="Data folder; overrides the configuration's.")] = None
    config: Annotated[
        Path | None, Parameter(help="Configuration file; else the nearest trimtab.toml at or above here.")
    ] = None


AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON with stable fields.")]
