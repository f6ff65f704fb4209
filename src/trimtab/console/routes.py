"""What a route is: the table that is looked at before any page's code runs."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from starlette.responses import Response

from trimtab.types import ROLES, Role

from .site import Admission
from .visit import Visit

Endpoint = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    method: Literal["GET", "POST"]
    path: str
    """`/calls/{id}`: a name in braces stands for one piece of the path."""
    endpoint: Endpoint
    role: Admission = "viewer"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path as a pattern with a group for each name."""
        pieces = re.split(r"\{(\w+)\}", self.path)
        text = "".join(
            f"(?P<{piece}>[^/]+)" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces)
        )
        return re.compile(text)


def allows(role: Role, least: Admission) -> bool:
    """Return whether a role may do what asks for at least `least`.

    >>> allows("editor", "viewer"), allows("viewer", "admin")
    (True, False)
    """
    return least == "anyone" or ROLES.index(role) >= ROLES.index(least)
