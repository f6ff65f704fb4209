"""What a route of the API is: path, endpoint, who may use it, and the shapes of what goes in and out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from trimtab.types import Role

Endpoint = Callable[[Request], Awaitable[Response]]

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Nothing(msgspec.Struct, frozen=True):
    """An answer that says only that it was done."""

    done: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table that the application, its documentation and the tests of its roles are made from."""

    method: Method
    path: str
    endpoint: Endpoint
    action: str
    """What is tried, as the audit log names it: `noun.verb`."""
    role: Role | None
    """Whoever may at least this; None: anybody, signed in or not."""
    summary: str
    """One line for the reference."""
    reply: Any
    """Type of the answer's JSON; None: it is no JSON."""
    status: int = 200
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    """Fields of the query string."""
    extra: tuple[str, ...] = field(default=())
    """Media type of an answer that is no JSON."""
    secrets: str = ""
    """What of it only an admin may say, for the reference."""

    @property
    def name(self) -> str:
        """Return `METHOD /path`."""
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of the path's parameters."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))
