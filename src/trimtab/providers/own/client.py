"""The own model as a provider: finds the model process, waits a little for one that starts, and asks it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trimtab.types import Provider, ProviderSpec, Reply, Request
from trimtab.types.errors import (
    ConfigError,
    ConnectFailed,
    ModelNotFound,
    OwnModelUnavailable,
    ProviderAuthFailed,
    ProviderRejected,
)

from .encode import encode
from .endpoint import Endpoint, read_endpoint, read_progress, want_model
from .names import MODEL_NAME
from .refuse import refused
from .reply import OwnReply

if TYPE_CHECKING:
    from . import OwnContext

_POLL_S = 0.1
_START_WAIT_S = 8.0
"""A start takes 1 to 2 s, and several under load; who waits longer is told how far it has come."""
_MAX_IN_FLIGHT = 32
"""Calls of one worker in the model's queue: at some seconds each, more would only time out there."""
_SOON_S = 2.0
_RETRY_S = {"downloading": 10.0, "failed": 30.0}
"""When to ask again, where that is not soon."""
_OVER_CONTEXT = b'"exceed_context_size_error"'


class _Overflow(msgspec.Struct):
    n_prompt_tokens: int = 0


class _OverflowBody(msgspec.Struct):
    error: _Overflow


class OwnProvider:
    """Serves the model process's model; every worker has one."""

    def __init__(
        self,
        connect: Callable[[Endpoint], Provider],
        run_dir: Path,
        *,
        name: str = "own",
        models: tuple[str, ...] = (),
        start_wait_s: float = _START_WAIT_S,
    ) -> None:
        """Prepare; nothing is started or read.

        Args:
            connect: makes a client of the OpenAI dialect for an endpoint.
            run_dir: where the model process leaves its endpoint.
            name: the provider's name.
            models: names to tell while no model process runs.
            start_wait_s: how long a call waits for a model process that is starting.
        """
        self.name = name
        self.degraded_mode = True
        """Where it stands in for a model that was asked for, replies say so (`x-trimtab-degraded`)."""
        self._connect = connect
        self._run_dir = run_dir
        self._models = models or (MODEL_NAME,)
        self._start_wait_s = start_wait_s
        self._in_flight = 0
        self._link: tuple[Endpoint, Provider] | None = None

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Reply]:
        """Ask the model process; see `types.exchange.Provider.open`.

        Raises:
            OwnModelUnavailable: it is not up, or has more calls waiting than it can serve; with the reason.
            ModelNotFound: it serves another model.
            ProviderRejected: the request asks for what it cannot do.
        """
        if request.kind == "embeddings":
            raise refused(
                "the own model has no embeddings; name a provider that has an embedding model",
                param="model",
            )
        with self._place():
            async with AsyncExitStack() as stack:
                yield await self._enter(stack, request)

    async def models(self) -> list[str]:
        """Return the name of the model served, or of the one that would be. Reads one small file at most."""
        endpoint = self._link[0] if self._link else read_endpoint(self._run_dir)
        return [endpoint.model] if endpoint else list(self._models)

    async def aclose(self) -> None:
        """Close connections; the model process goes on."""
        link, self._link = self._link, None
        if link is not None:
            await link[1].aclose()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._in_flight >= _MAX_IN_FLIGHT:
            raise OwnModelUnavailable(
                f"the own model is busy: {self._in_flight} calls of this worker wait for it already; "
                "send fewer at once, or serve it at a URL of your own (own.url)",
                retry_after_s=_SOON_S,
            )
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def _enter(self, stack: AsyncExitStack, request: Request) -> Reply:
        endpoint, provider = await self._linked(request, stale=None)
        try:
            return await self._ask(stack, request, endpoint, provider)
        except (ConnectFailed, ProviderAuthFailed):
            # The model process died; its successor listens elsewhere, with another key.
            endpoint, provider = await self._linked(request, stale=endpoint)
            return await self._ask(stack, request, endpoint, provider)

    async def _ask(
        self, stack: AsyncExitStack, request: Request, endpoint: Endpoint, provider: Provider
    ) -> Reply:
        _check_model(request.model, endpoint.model, self.name)
        encoded, wants_json = encode(request, endpoint)
        try:
            inner = await stack.enter_async_context(provider.open(encoded))
        except ProviderRejected as error:
            raise _explained(error, endpoint) from error
        return OwnReply(inner, endpoint, wants_json=wants_json)

    async def _linked(self, request: Request, stale: Endpoint | None) -> tuple[Endpoint, Provider]:
        """Return the live endpoint and its client, waiting for a start if need be."""
        link = self._link
        if link is not None and link[0] != stale:
            return link
        wait_s = min(self._start_wait_s, request.deadlines.first_byte_s)
        endpoint = await self._endpoint(stale, wait_s)
        link = self._link
        if link is not None and link[0] == endpoint:
            return link  # another call found it while we waited
        self._link = fresh = (endpoint, self._connect(endpoint))
        if link is not None:
            await link[1].aclose()
        return fresh

    async def _endpoint(self, stale: Endpoint | None, wait_s: float) -> Endpoint:
        now, wanted = asyncio.get_running_loop().time, False
        until = now() + wait_s
        while True:
            endpoint = read_endpoint(self._run_dir)
            if endpoint is not None and endpoint != stale:
                return endpoint
            if not wanted:
                want_model(self._run_dir)
                wanted = True
            progress = read_progress(self._run_dir)
            if now() >= until or (progress is not None and progress.state == "failed"):
                raise self._unavailable()
            await asyncio.sleep(_POLL_S)

    def _unavailable(self) -> OwnModelUnavailable:
        progress = read_progress(self._run_dir)
        if progress is None:
            return OwnModelUnavailable(
                "the own model is not running: `trimtab up` starts it when it is asked for, and its log "
                "says why not",
                retry_after_s=_SOON_S,
            )
        said = (
            f"the own model cannot start: {progress.reason}"
            if progress.state == "failed"
            else f"the own model is not ready yet: {progress}; ask again in a moment"
        )
        return OwnModelUnavailable(said, retry_after_s=_RETRY_S.get(progress.state, _SOON_S))


def own_provider(spec: ProviderSpec, context: "OwnContext") -> Provider:
    """Make the own model's provider from its specification; see the room's `provider`."""
    url = spec.base_url or spec.options.get("url", "")
    start_wait_s = spec.options.get("start_wait_s", _START_WAIT_S)
    if not isinstance(url, str):
        raise ConfigError(
            f"the own model's url is {url!r}; it must be text such as 'http://127.0.0.1:11434/v1'"
        )
    if isinstance(start_wait_s, bool) or not isinstance(start_wait_s, int | float) or start_wait_s < 0:
        raise ConfigError(f"the own model's start_wait_s is {start_wait_s!r}; it must be seconds, 0 or more")
    plain = msgspec.structs.replace(spec, kind="openai", options={})
    if url:
        return context.openai(msgspec.structs.replace(plain, base_url=url))

    def connect(endpoint: Endpoint) -> Provider:
        return context.openai(
            # Nothing of the user's goes to the model process: no proxy, no headers, no key.
            ProviderSpec(
                name=spec.name, base_url=endpoint.base_url, api_key=endpoint.api_key, deadlines=spec.deadlines
            )
        )

    return OwnProvider(
        connect, context.run_dir, name=spec.name, models=spec.models, start_wait_s=start_wait_s
    )


def _check_model(asked: str, served: str, provider: str) -> None:
    if asked not in (served, "", "default"):
        raise ModelNotFound(
            f"the own model is {provider}/{served}, not {provider}/{asked}; ask for that name, or start with "
            "--model-path FILE.gguf to serve another",
            param="model",
        )


def _explained(error: ProviderRejected, endpoint: Endpoint) -> ProviderRejected:
    """Say a context overflow the way OpenAI's clients know it."""
    if _OVER_CONTEXT not in error.body:
        return error
    try:
        tokens = msgspec.json.decode(error.body, type=_OverflowBody).error.n_prompt_tokens
    except msgspec.DecodeError:
        return error
    return refused(
        f"this model's maximum context length is {endpoint.context_tokens} tokens, prompt and answer "
        f"together, and the messages have {tokens}; shorten them, or raise own.context",
        param="messages",
        code="context_length_exceeded",
    )
