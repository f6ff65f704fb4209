"""The provider port: one request in, one reply out; a wrapper has the same shape as what it wraps."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from .call import CallKind
from .events import Frame
from .usage import Usage


class Deadlines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long each phase of a call may take, in seconds."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    """From sending to the reply's head."""
    idle_s: float = 60.0
    """Between two pieces of a started answer."""
    total_s: float = 600.0
    """The whole call, retries and fallbacks included."""


class Request(msgspec.Struct, frozen=True):
    """What is asked of one target, in the OpenAI dialect.

    `body` is the caller's JSON object, field by field undecoded, so that what we do not know passes through
    unchanged; `model` in it is already the target's own name for the model.
    """

    kind: CallKind
    model: str
    body: dict[str, msgspec.Raw]
    stream: bool
    deadlines: Deadlines
    call_id: str = ""


class ReplyHead(msgspec.Struct, frozen=True):
    """What is known of an answer before its content."""

    status: int = 200
    request_id: str = ""
    """The provider's id for this request (`x-request-id`)."""
    headers: tuple[tuple[str, str], ...] = ()
    """Reply headers worth passing on, such as rate limits."""


class Completion(msgspec.Struct, frozen=True):
    """A whole, unstreamed answer: the bytes for a client of the same dialect, and what the ledger needs."""

    body: bytes
    response_id: str = ""
    model: str = ""
    fingerprint: str = ""
    finish_reason: str = ""
    usage: Usage | None = None
    """None: the provider did not say; the pipeline estimates then, and flags it."""
    text: str = ""
    """Filled only where `usage` is None: what to estimate from."""


class Reply(Protocol):
    """An open answer. Exactly one of the two is used: `completion` if the request was unstreamed, else `frames`.

    A reply may also have `received() -> int`, the bytes that have arrived: the idle deadline then begins anew while
    it grows, so that a slow answer is told from a stalled one.
    """

    head: ReplyHead

    async def completion(self) -> Completion:
        """Read the whole answer.

        Raises:
            ProviderError: the answer did not arrive whole, or is not in the provider's format.
        """
        ...

    def frames(self) -> AsyncIterator[Frame]:
        """Yield the stream piece by piece; a clean end has a `Done` event in its last frame.

        Raises:
            ProviderError: while iterating; `StreamCut` where the stream ends without `Done`.
        """
        ...


class Provider(Protocol):
    """Serves models. Implementations: a folder each under `providers/`, or a plugin's."""

    name: str

    def open(self, request: Request) -> AbstractAsyncContextManager[Reply]:
        """Send the request; entering yields the reply as soon as its head is there.

        Leaving the context, or cancelling the task, closes the upstream socket within 100 ms.

        Raises:
            ProviderError: on entering, when there is no usable head; a status of 400 and above raises here.
        """
        ...

    async def models(self) -> list[str]:
        """Return the names of the models served, as the provider writes them."""
        ...

    async def aclose(self) -> None:
        """Close pooled connections."""
        ...


class Generate(Protocol):
    """Asks a model for text: what judges and classifiers get, so that they need no provider."""

    async def __call__(self, messages: list[dict[str, str]], *, model: str, max_tokens: int = 256) -> str:
        """Return the answer's text.

        Raises:
            TrimtabError: whatever kept the call from an answer.
        """
        ...
