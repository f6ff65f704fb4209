"""The client for code without an event loop: the asyncio client, run on a thread of its own."""

import os
from collections.abc import Iterable
from typing import Self, Unpack

from trimtab.types import RetryPolicy

from .aio import DEFAULT_TIMEOUT_S, AsyncClient
from .answer import Answer, Embeddings
from .batch import Batch, BatchOptions, BatchRun, Prompts, Show
from .portal import Portal
from .request import FeedbackFields, Prompt
from .stream import AsyncStream
from .transport import Transport


class Client:
    """Calls a gateway. Threads may share one; use it as `with Client() as client:`, or close it."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        model: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Make a client; nothing is sent. Arguments and errors are `AsyncClient`'s."""
        self._async = AsyncClient(
            base_url, api_key, model=model, timeout_s=timeout_s, retry=retry, transport=transport
        )
        self._portal = Portal(self._async.aclose)

    def generate(
        self,
        prompt: Prompt,
        *,
        model: str = "",
        system: str = "",
        timeout_s: float | None = None,
        **params: object,
    ) -> Answer:
        """Return a model's answer; see `AsyncClient.generate`."""
        return self._portal.run(
            self._async.generate(prompt, model=model, system=system, timeout_s=timeout_s, **params)
        )

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str = "",
        system: str = "",
        timeout_s: float | None = None,
        **params: object,
    ) -> "Stream":
        """Return a stream of a model's answer; see `AsyncClient.stream`."""
        inner = self._async.stream(prompt, model=model, system=system, timeout_s=timeout_s, **params)
        return Stream(inner, self._portal)

    def batch_iter(
        self,
        prompts: Prompts,
        *,
        model: str = "",
        system: str = "",
        concurrency: int = 8,
        resume: str | os.PathLike[str] | None = None,
        progress: bool | Show = True,
        **params: object,
    ) -> BatchRun:
        """Return a run that yields an `Item` for each prompt, as it ends; see `AsyncClient.batch_iter`.

        Prompts are taken, and items handed out, in the thread that iterates.
        """
        post = self._async.poster(params.pop("timeout_s", None))
        options = BatchOptions(
            system=system,
            params={"model": model or self._async.model, **params},
            concurrency=concurrency,
            resume=resume,
            progress=progress,
        )
        return BatchRun(post, prompts, options, self._portal)

    def batch(
        self,
        prompts: Prompts,
        *,
        model: str = "",
        system: str = "",
        concurrency: int = 8,
        resume: str | os.PathLike[str] | None = None,
        progress: bool | Show = True,
        **params: object,
    ) -> Batch:
        """Ask many prompts; return for each, in order, an `Answer` or a `Failure`; see `AsyncClient.batch`."""
        run = self.batch_iter(
            prompts,
            model=model,
            system=system,
            concurrency=concurrency,
            resume=resume,
            progress=progress,
            **params,
        )
        return run.collect()

    def embed(
        self,
        texts: str | Iterable[str],
        *,
        model: str = "",
        chunk: int = 256,
        concurrency: int = 4,
        **params: object,
    ) -> Embeddings:
        """Return a vector for each text, in their order; see `AsyncClient.embed`."""
        given = texts if isinstance(texts, str) else list(texts)
        return self._portal.run(
            self._async.embed(given, model=model, chunk=chunk, concurrency=concurrency, **params)
        )

    def feedback(
        self,
        call: Answer | Embeddings | str,
        *,
        score: float | None = None,
        comment: str = "",
        **more: Unpack[FeedbackFields],
    ) -> str:
        """Judge a call; return the feedback's id; see `AsyncClient.feedback`."""
        return self._portal.run(self._async.feedback(call, score=score, comment=comment, **more))

    def models(self) -> list[str]:
        """Return the names of the models that can be called; see `AsyncClient.models`."""
        return self._portal.run(self._async.models())

    def close(self) -> None:
        """Close connections and end the thread; a further call starts both again."""
        self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Stream:
    """A streamed answer: iterate for its pieces of text; afterwards `answer` holds all of it.

    Leaving its context, or `close`, before the end cancels the call upstream.
    """

    def __init__(self, inner: AsyncStream, portal: Portal) -> None:
        self._inner = inner
        self._portal = portal

    @property
    def answer(self) -> Answer:
        """The whole answer.

        Raises:
            RuntimeError: the stream has not come to its end.
        """
        return self._inner.answer

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        piece = self._portal.run(_next(self._inner))
        if piece is None:
            raise StopIteration
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop; what has not arrived by now is cancelled upstream."""
        self._portal.run(self._inner.aclose())


async def _next(stream: AsyncStream) -> str | None:
    async for piece in stream:
        return piece
    return None
