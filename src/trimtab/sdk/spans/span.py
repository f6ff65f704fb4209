"""Spans: pieces of an application's own work, nested, and what of them travels with calls."""

import os
import time
from collections.abc import Callable
from contextvars import ContextVar, Token, copy_context
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import msgspec

from .shorten import shorten

P = ParamSpec("P")
R = TypeVar("R")


class FinishedSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A span that has ended, as exporters get it."""

    trace_id: str
    """32 hex digits, the same for all spans and calls of one trace."""
    span_id: str
    """16 hex digits."""
    parent_id: str
    """The span around it; empty for the outermost."""
    name: str
    started_us: int
    """Microseconds since 1970."""
    ended_us: int
    error: str
    """Class of the exception that ended it; empty where none did."""
    attributes: dict[str, Any]
    """JSON values, each bounded."""


class Span:
    """A span under way. Threads and tasks may set attributes of one; it ends once."""

    __slots__ = ("_attributes", "_began", "_error", "_parent_id", "name", "span_id", "started_us", "trace_id")

    def __init__(self, name: str, around: tuple[str, str] | None) -> None:
        """Begin a span.

        Args:
            name: what it is.
            around: trace and span id of the span around it; None begins a trace.
        """
        self.name = name
        self.trace_id, self._parent_id = around or (os.urandom(16).hex(), "")
        self.span_id = os.urandom(8).hex()
        self.started_us = time.time_ns() // 1000
        self._began = time.monotonic_ns()
        self._attributes: dict[str, Any] = {}
        self._error = ""

    @property
    def trace_parent(self) -> str:
        """What names this span in W3C trace context: the value of a `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    def set(self, **attributes: object) -> None:
        """Note facts; values are made JSON at once, and long ones are cut."""
        for name, value in attributes.items():
            self._attributes[name] = shorten(value)

    def fail(self, error: BaseException) -> None:
        """Note the exception that ends it: its class as the error, its message as an attribute."""
        self._error = type(error).__qualname__
        message = str(error) if isinstance(error, Exception) else ""
        if message:
            self.set(error_message=message)

    def finished(self) -> FinishedSpan:
        """Return it as it ends now."""
        return FinishedSpan(
            trace_id=self.trace_id,
            span_id=self.span_id,
            parent_id=self._parent_id,
            name=self.name,
            started_us=self.started_us,
            ended_us=self.started_us + (time.monotonic_ns() - self._began) // 1000,
            error=self._error,
            attributes=dict(self._attributes),
        )


_CURRENT: ContextVar[Span | None] = ContextVar("trimtab_span", default=None)


def current_span() -> Span | None:
    """Return the span that this code runs in, or None."""
    return _CURRENT.get()


def current_trace_parent() -> str:
    """Return the `traceparent` of the span that this code runs in; empty outside of any."""
    span = _CURRENT.get()
    return span.trace_parent if span is not None else ""


def enter(span: Span) -> Token[Span | None]:
    """Make a span the current one of this context."""
    return _CURRENT.set(span)


def leave(token: Token[Span | None]) -> None:
    """Make the span before it current again."""
    _CURRENT.reset(token)


def in_this_span(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function, to be called in another thread, as part of the span that this code runs in.

    Threads do not know whose work they do: `pool.map(in_this_span(work), items)`. `asyncio.to_thread` needs none.
    """
    context = copy_context()

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(function, *args, **kwargs)

    return inside
