"""The client for asyncio."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self, Unpack

import msgspec

from trimtab.types import RetryPolicy

from .answer import Answer, Embeddings, read_answer, read_embeddings, read_object
from .batch import AsyncBatchRun, AsyncPrompts, Batch, BatchOptions, Show
from .embed import embed_all
from .errors import ApiError, from_reply
from .request import (
    FeedbackFields,
    Prompt,
    chat_body,
    encode,
    feedback_body,
    find_api_key,
    find_base_url,
    pause_s,
)
from .spans import current_trace_parent
from .stream import AsyncStream
from .transport import HttpReply, HttpRequest, HttpTransport, Transport

DEFAULT_TIMEOUT_S = 630.0
"""A little over the gateway's own limit for a call (600 s), so that its error arrives rather than ours."""


class AsyncClient:
    """Calls a gateway. Use as `async with AsyncClient() as client:`, within one event loop."""

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
        """Make a client; nothing is sent.

        Args:
            base_url: the gateway's address with `/v1`; else TRIMTAB_BASE_URL, else http://127.0.0.1:8400/v1.
            api_key: sent as a bearer token; else TRIMTAB_API_KEY, else none.
            model: what to call where a call names no model: `provider/model`, `route/NAME`, or a bare name.
            timeout_s: for a whole call, retries included, in seconds.
            retry: how often, and how soon, to send again what certainly was not done.
            transport: carries requests in place of HTTP; `base_url` and `api_key` are unused then.

        Raises:
            ValueError: the address or the key cannot be used.
        """
        self.transport = transport or HttpTransport(find_base_url(base_url), find_api_key(api_key))
        self.model = model
        self.timeout_s = timeout_s
        self.retry = retry or RetryPolicy()

    async def generate(
        self,
        prompt: Prompt,
        *,
        model: str = "",
        system: str = "",
        timeout_s: float | None = None,
        **params: object,
    ) -> Answer:
        """Return a model's answer.

        Args:
            prompt: the user's words, or a list of OpenAI chat messages.
            model: `provider/model`, `route/NAME`, or a bare model name.
            system: put before the messages as the system message.
            timeout_s: for the whole call, in seconds; the client's where omitted.
            params: any field of OpenAI's chat completions: `temperature`, `max_tokens`, `tools`, ...

        Raises:
            ApiError: there is no answer; its subclasses and `code` say why.
        """
        body = chat_body(prompt, system, {"model": model or self.model, **params}, stream=False)
        raw, headers = await self._call("POST", "/chat/completions", body, timeout_s)
        return read_answer(raw, headers)

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str = "",
        system: str = "",
        timeout_s: float | None = None,
        **params: object,
    ) -> "AsyncStream":
        """Return a stream of a model's answer; arguments as for `generate`. Sent when first iterated."""
        body = chat_body(prompt, system, {"model": model or self.model, **params}, stream=True)
        return AsyncStream(self.open, self._request("POST", "/chat/completions", body, timeout_s))

    def batch_iter(
        self,
        prompts: AsyncPrompts,
        *,
        model: str = "",
        system: str = "",
        concurrency: int = 8,
        resume: str | os.PathLike[str] | None = None,
        progress: bool | Show = True,
        **params: object,
    ) -> AsyncBatchRun:
        """Return a run that yields an `Item` for each prompt, as it ends; `report` counts them.

        Takes prompts only as items are taken, so that iterators of any length do. Arguments as for `batch`.

        Raises:
            ValueError, TypeError: an argument cannot be meant.
            ResumeError: while iterating: the file cannot be used, or the prompts are not those of it.
        """
        return AsyncBatchRun(
            self.poster(params.pop("timeout_s", None)),
            prompts,
            BatchOptions(
                system=system,
                params={"model": model or self.model, **params},
                concurrency=concurrency,
                resume=resume,
                progress=progress,
            ),
        )

    async def batch(
        self,
        prompts: AsyncPrompts,
        *,
        model: str = "",
        system: str = "",
        concurrency: int = 8,
        resume: str | os.PathLike[str] | None = None,
        progress: bool | Show = True,
        **params: object,
    ) -> Batch:
        """Ask many prompts; return for each, in order, an `Answer` or a `Failure`, and a report.

        Args:
            prompts: texts, lists of messages, or dicts with `prompt` or `messages` and fields of their own.
            model: as for `generate`.
            system: as for `generate`, before every prompt.
            concurrency: calls at a time.
            resume: a file that keeps answers as they come; what it holds already is not asked again.
            progress: a bar on stderr where that is a terminal; or a function that is given the `Report` so far.
            params: as for `generate`; `timeout_s` is each call's.

        Raises:
            ValueError, TypeError: an argument cannot be meant.
            ResumeError: the file cannot be used, or the prompts are not those of it.
        """
        run = self.batch_iter(
            prompts,
            model=model,
            system=system,
            concurrency=concurrency,
            resume=resume,
            progress=progress,
            **params,
        )
        return await run.collect()

    async def embed(
        self,
        texts: str | Iterable[str],
        *,
        model: str = "",
        chunk: int = 256,
        concurrency: int = 4,
        **params: object,
    ) -> Embeddings:
        """Return a vector for each text, in their order.

        Args:
            texts: one, or any number: long lists go out in several calls.
            model: as for `generate`.
            chunk: texts in one call at most; long texts make for smaller calls.
            concurrency: calls at a time.
            params: fields of OpenAI's embeddings: `dimensions`, ...

        Raises:
            ApiError: a call failed after its retries; the others are cancelled.
            ValueError: `chunk` or `concurrency` is below 1.
        """

        async def one(chunk_of_texts: list[str]) -> Embeddings:
            body = encode({"model": model or self.model, **params, "input": chunk_of_texts})
            return read_embeddings(*await self._call("POST", "/embeddings", body, idempotent=True))

        return await embed_all(one, [texts] if isinstance(texts, str) else list(texts), chunk, concurrency)

    async def feedback(
        self,
        call: Answer | Embeddings | str,
        *,
        score: float | None = None,
        comment: str = "",
        **more: Unpack[FeedbackFields],
    ) -> str:
        """Judge a call; return the feedback's id.

        Args:
            call: an `Answer`, its `call_id`, or the provider's response id (`chatcmpl-...`).
            score: any number; by custom 1 is good and 0 is bad.
            comment: in words.
            more: see `FeedbackFields`.

        Raises:
            ApiError: it was not taken.
            ValueError: it names no call.
        """
        body = feedback_body(call, {"score": score, "comment": comment or None, **more})
        raw, headers = await self._call("POST", "/feedback", body)
        return str(read_object(raw, headers).get("id", ""))

    async def send_spans(self, spans: list[dict[str, Any]], *, timeout_s: float | None = None) -> int:
        """Send finished spans to the ledger, in the shape of `POST /v1/spans`; return how many were taken.

        Raises:
            ApiError: none was.
        """
        raw, headers = await self._call(
            "POST", "/spans", encode({"spans": spans}), timeout_s, idempotent=True
        )
        accepted = read_object(raw, headers).get("accepted")
        return accepted if isinstance(accepted, int) else 0

    async def models(self) -> list[str]:
        """Return the names of the models that can be called.

        Raises:
            ApiError: there is no answer.
        """
        raw, headers = await self._call("GET", "/models", b"", idempotent=True)
        rows = read_object(raw, headers).get("data")
        return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row] if rows else []

    def poster(self, timeout_s: object) -> Callable[[bytes], Awaitable[Answer]]:
        """Return what sends the body of a chat call, and returns the answer or raises an `ApiError`.

        Raises:
            TypeError: the time is no number.
        """
        if timeout_s is not None and not isinstance(timeout_s, int | float):
            raise TypeError(f"timeout_s is {timeout_s!r}, and must be a number of seconds")

        async def post(body: bytes) -> Answer:
            return read_answer(*await self._call("POST", "/chat/completions", body, timeout_s))

        return post

    async def aclose(self) -> None:
        """Close connections; further calls open new ones."""
        await self.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def _request(self, method: str, path: str, body: bytes, timeout_s: float | None) -> HttpRequest:
        limit = self.timeout_s if timeout_s is None else timeout_s
        return HttpRequest(
            method=method, path=path, body=body, timeout_s=limit, trace_parent=current_trace_parent()
        )

    async def _call(
        self, method: str, path: str, body: bytes, timeout_s: float | None = None, *, idempotent: bool = False
    ) -> tuple[bytes, dict[str, str]]:
        request = self._request(method, path, body, timeout_s)
        async with self.open(request, idempotent=idempotent) as reply:
            return await reply.read(), reply.headers

    @asynccontextmanager
    async def open(self, request: HttpRequest, *, idempotent: bool = False) -> AsyncIterator[HttpReply]:
        """Send a request, again where that is safe, and yield a reply of status 200 to 299.

        Raises:
            ApiError: there is none.
        """
        deadline = time.monotonic() + request.timeout_s
        async with AsyncExitStack() as opened:
            tries = 0
            while True:
                try:
                    reply = await opened.enter_async_context(_accepted(self.transport, request))
                    break
                except ApiError as error:
                    tries += 1
                    error.attempts = tries
                    pause = pause_s(error, tries, self.retry, idempotent=idempotent)
                    left_s = deadline - time.monotonic() - (pause or 0)
                    if pause is None or left_s <= 0:
                        raise
                    await asyncio.sleep(pause)
                    request = _with_timeout(request, left_s)
            yield reply


@asynccontextmanager
async def _accepted(transport: Transport, request: HttpRequest) -> AsyncIterator[HttpReply]:
    async with transport.open(request) as reply:
        if not 200 <= reply.status < 300:
            raise from_reply(reply.status, reply.headers, await reply.read())
        yield reply


def _with_timeout(request: HttpRequest, timeout_s: float) -> HttpRequest:
    return msgspec.structs.replace(request, timeout_s=timeout_s)
