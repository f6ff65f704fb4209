"""The tracer: makes spans of functions and blocks, and hands them to the outbox."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, overload

import msgspec

from trimtab.sdk.aio import AsyncClient
from trimtab.sdk.spans import FinishedSpan, Span, current_span, encoded, enter, leave
from trimtab.sdk.transport import Transport
from trimtab.types import parse_trace_parent

from .observed import Recording, observed
from .outbox import Delivery, Exporter, Outbox

F = TypeVar("F", bound=Callable[..., Any])

_SEND_S = 30.0


class GatewayExporter:
    """Sends spans to a gateway (`POST /v1/spans`), which keeps them in its ledger."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def send(self, spans: list[FinishedSpan]) -> int:
        """See `Exporter.send`."""
        rows = []
        for span in spans:
            row = msgspec.structs.asdict(span)
            row["attributes"] = msgspec.Raw(encoded(span.attributes))
            rows.append(row)
        return await self._client.send_spans(rows, timeout_s=_SEND_S)

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        await self._client.aclose()


class Tracer:
    """Traces functions and blocks, and delivers their spans in the background."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        transport: Transport | None = None,
        exporter: Exporter | None = None,
    ) -> None:
        """Make a tracer; nothing is sent, and no thread started, before the first span has ended.

        Args:
            base_url: as for `Client`.
            api_key: as for `Client`.
            transport: as for `Client`.
            exporter: takes the spans in the gateway's place.

        Raises:
            ValueError: the address or the key cannot be used.
        """
        made = exporter or GatewayExporter(AsyncClient(base_url, api_key, transport=transport))
        self._outbox = Outbox(made)

    @contextmanager
    def span(self, name: str, /, *, trace_parent: str = "", **attributes: object) -> Iterator[Span]:
        """Make a block a span; calls and spans within it belong to it.

        Args:
            name: what it is.
            trace_parent: the `traceparent` header of a request that this block serves, to go on with its trace.
            attributes: facts to note; more with `Span.set`.
        """
        made = Span(name, self._around(trace_parent))
        made.set(**attributes)
        token = enter(made)
        try:
            yield made
        except BaseException as error:
            made.fail(error)
            raise
        finally:
            leave(token)
            self._outbox.put(made.finished())

    @overload
    def observe(self, function: F, /) -> F: ...
    @overload
    def observe(
        self, /, *, name: str = "", capture_args: bool = False, capture_result: bool = False
    ) -> Callable[[F], F]: ...
    def observe(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str = "",
        capture_args: bool = False,
        capture_result: bool = False,
    ) -> Any:
        """Make every run of a function a span; see `trimtab.sdk.observe`."""
        return observe_with(
            lambda: self, function, name=name, capture_args=capture_args, capture_result=capture_result
        )

    def flush(self, timeout_s: float = 10.0) -> Delivery:
        """Send what waits, and return what became of all spans so far; see `Outbox.flush`."""
        return self._outbox.flush(timeout_s)

    def close(self, timeout_s: float = 10.0) -> Delivery:
        """Flush, and end the thread; later spans are dropped, and counted."""
        return self._outbox.close(timeout_s)

    def begin(self, name: str, *, capture_result: bool) -> Recording:
        """Begin a span for a run of a function."""
        return Recording(
            Span(name, self._around("")),
            lambda span: self._outbox.put(span.finished()),
            capture_result=capture_result,
        )

    @staticmethod
    def _around(trace_parent: str) -> tuple[str, str] | None:
        given = parse_trace_parent(trace_parent) if trace_parent else None
        outer = current_span()
        return given or (None if outer is None else (outer.trace_id, outer.span_id))


@cache
def default_tracer() -> Tracer:
    """Return the tracer of this process: made at first use, for TRIMTAB_BASE_URL and TRIMTAB_API_KEY."""
    return Tracer()


def observe_with(
    find: Callable[[], Tracer], function: F | None, *, name: str, capture_args: bool, capture_result: bool
) -> F | Callable[[F], F]:
    """Return a function, or a decorator of functions, that run in spans of the tracer found at each run."""

    def decorate(inner: F) -> F:
        title = name or getattr(inner, "__qualname__", type(inner).__name__).replace("<locals>.", "")
        signature = inspect.signature(inner) if capture_args else None

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
            recording = find().begin(title, capture_result=capture_result)
            if signature is not None:
                recording.span.set(args=_arguments(signature, args, kwargs))
            return recording

        made: F = observed(inner, begin)
        return made

    return decorate if function is None else decorate(function)


def _arguments(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, object]:
    """Return the arguments by name, without the object or class of a method."""
    try:
        named: dict[str, object] = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError:  # the call is about to say so itself
        return {"args": args, **kwargs}
    first = next(iter(signature.parameters), "")
    if first in ("self", "cls"):
        named.pop(first, None)
    return named


@overload
def observe(function: F, /) -> F: ...
@overload
def observe(
    *, name: str = "", capture_args: bool = False, capture_result: bool = False
) -> Callable[[F], F]: ...
def observe(
    function: F | None = None, /, *, name: str = "", capture_args: bool = False, capture_result: bool = False
) -> F | Callable[[F], F]:
    """Make every run of a function a span: `@observe`, or `@observe(name="retrieve", capture_args=True)`.

    Plain functions, coroutines, generators and async generators; each keeps its kind and signature. Calls and spans
    inside belong to it. An exception ends the span with its class, and goes on.

    Args:
        function: what to trace.
        name: of the span; the function's own where omitted.
        capture_args: note the arguments, cut to a bounded size, under the gateway's payload policy.
        capture_result: note what is returned, or yielded, in the same way.
    """
    return observe_with(
        default_tracer, function, name=name, capture_args=capture_args, capture_result=capture_result
    )


@contextmanager
def span(name: str, /, *, trace_parent: str = "", **attributes: object) -> Iterator[Span]:
    """Make a block a span of this process's tracer; see `Tracer.span`."""
    with default_tracer().span(name, trace_parent=trace_parent, **attributes) as made:
        yield made


def flush(timeout_s: float = 10.0) -> Delivery:
    """Send the spans of `observe` and `span` that wait, and return what became of all; see `Tracer.flush`."""
    return default_tracer().flush(timeout_s)
