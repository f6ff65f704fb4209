"""Functions that are spans: plain ones, coroutines, generators and async generators."""

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

from trimtab.sdk.spans import Span, enter, leave

Begin = Callable[[tuple[Any, ...], dict[str, Any]], "Recording"]
"""Begins a span for a function's arguments."""


class Recording:
    """One run of an observed function: its span, entered for as long as the function's own code runs."""

    def __init__(self, span: Span, end: Callable[[Span], None], *, capture_result: bool) -> None:
        self.span = span
        self._end = end
        self._capture = capture_result
        self._pieces: list[object] = []

    def inside(self) -> "_Inside":
        """Return a context in which the span is the current one."""
        return _Inside(self.span)

    def result(self, value: object) -> None:
        """Note what the function returned."""
        if self._capture:
            self.span.set(result=value)

    def piece(self, value: object) -> None:
        """Note what the function yielded."""
        if self._capture and len(self._pieces) < _MOST_PIECES:
            self._pieces.append(value)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # A generator that is left early has not failed.
        if error is not None and not isinstance(error, GeneratorExit):
            self.span.fail(error)
        if self._pieces:
            texts = [piece for piece in self._pieces if isinstance(piece, str)]
            self.span.set(result="".join(texts) if len(texts) == len(self._pieces) else self._pieces)
        self._end(self.span)


_MOST_PIECES = 1000


class _Thrown(AbstractContextManager[None]):
    """Takes whatever is thrown into a generator, which is for the function to handle; lets its closing pass."""

    error: BaseException | None = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self.error = error
        return not isinstance(error, GeneratorExit)


class _Inside(AbstractContextManager[None]):
    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = enter(self._span)

    def __exit__(self, *exc: object) -> None:
        leave(self._token)


class _Steps(Generator[Any, Any, Any]):
    """A generator whose every step runs inside a span; the consumer's code between steps does not."""

    def __init__(self, inner: Generator[Any, Any, Any], recording: Recording) -> None:
        self._inner = inner
        self._recording = recording

    def send(self, value: Any) -> Any:  # noqa: ANN401 - whatever a generator takes and gives
        with self._recording.inside():
            piece = self._inner.send(value)
        self._recording.piece(piece)
        return piece

    def throw(self, *error: Any) -> Any:  # noqa: ANN401
        with self._recording.inside():
            piece = self._inner.throw(*error)
        self._recording.piece(piece)
        return piece

    def close(self) -> None:
        with self._recording.inside():
            self._inner.close()


def observed(function: Callable[..., Any], begin: Begin) -> Any:  # noqa: ANN401 - a function of the same kind
    """Return a function of the same kind that runs in a span of its own, made by `begin` from the arguments."""
    if inspect.isasyncgenfunction(function):
        return _yields_later(function, begin)
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def returns_later(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            with begin(args, kwargs) as recording, recording.inside():
                value = await function(*args, **kwargs)
                recording.result(value)
                return value

        return returns_later
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def yields(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:  # noqa: ANN401
            with begin(args, kwargs) as recording:
                return (yield from _Steps(function(*args, **kwargs), recording))

        return yields

    @wraps(function)
    def returns(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        with begin(args, kwargs) as recording, recording.inside():
            value = function(*args, **kwargs)
            recording.result(value)
            return value

    return returns


def _yields_later(function: Callable[..., AsyncGenerator[Any, Any]], begin: Begin) -> Any:  # noqa: ANN401
    @wraps(function)
    async def yields_later(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:  # noqa: ANN401
        with begin(args, kwargs) as recording:
            inner = function(*args, **kwargs)
            step = inner.asend(None)
            while True:
                with recording.inside():
                    try:
                        piece = await step
                    except StopAsyncIteration:
                        return
                recording.piece(piece)
                sent, thrown = None, _Thrown()
                try:
                    with thrown:
                        sent = yield piece
                except GeneratorExit:
                    with recording.inside():
                        await inner.aclose()
                    raise
                step = inner.asend(sent) if thrown.error is None else inner.athrow(thrown.error)

    return yields_later
