"""The own model's reply: the runtime's, with our fingerprint, and held to the JSON it was asked for."""

from collections.abc import AsyncIterator

import msgspec

from trimtab.types import Completion, ContentDelta, Frame, Reply, Started
from trimtab.types.errors import ProviderRejected

from .endpoint import Endpoint
from .refuse import refused

_JSON_STARTS = frozenset('{["-0123456789tfn')


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    finish_reason: str | None = None


class _Body(msgspec.Struct):
    choices: list[_Choice] = []


_decode_body = msgspec.json.Decoder(_Body).decode


class OwnReply:
    """Wraps the reply of the runtime."""

    __slots__ = ("_endpoint", "_inner", "_new", "_old", "_wants_json", "head")

    def __init__(self, inner: Reply, endpoint: Endpoint, *, wants_json: bool) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._wants_json = wants_json
        self.head = inner.head
        # A quote inside the answer's text is escaped there, so these bytes are nothing but the field itself.
        self._old = b'"system_fingerprint":' + msgspec.json.encode(endpoint.runtime_fingerprint)
        self._new = b'"system_fingerprint":' + msgspec.json.encode(endpoint.fingerprint)

    async def completion(self) -> Completion:
        """Read the whole answer; see `types.exchange.Reply.completion`.

        Raises:
            ProviderRejected: the schema could not be enforced after all.
        """
        whole = await self._inner.completion()
        if self._wants_json and not _all_json(whole.body):
            raise _unenforced()
        body = whole.body.replace(self._old, self._new, 1)
        return msgspec.structs.replace(whole, body=body, fingerprint=self._endpoint.fingerprint)

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield the stream; see `types.exchange.Reply.frames`.

        Raises:
            ProviderRejected: before the first content: the schema could not be enforced after all.
        """
        unseen = self._wants_json
        async for frame in self._inner.frames():
            if unseen:
                text = _content(frame).lstrip()
                if text and text[0] not in _JSON_STARTS:
                    raise _unenforced()
                unseen = not text
            yield Frame(
                frame.raw.replace(self._old, self._new, 1),
                tuple(self._marked(event) if type(event) is Started else event for event in frame.events),
                frame.usage_only,
            )

    def _marked(self, started: Started) -> Started:
        return msgspec.structs.replace(started, fingerprint=self._endpoint.fingerprint)


def _content(frame: Frame) -> str:
    return "".join(event.text for event in frame.events if type(event) is ContentDelta)


def _all_json(body: bytes) -> bool:
    """Whether every choice that came to its end is JSON; one cut off by its token limit cannot be."""
    try:
        for choice in _decode_body(body).choices:
            if choice.finish_reason == "stop":
                msgspec.json.decode(choice.message.content or "")
    except msgspec.DecodeError:
        return False
    return True


def _unenforced() -> ProviderRejected:
    return refused(
        "the own model's runtime could not enforce this schema (alternatives that overlap, or parts that "
        "contradict each other); simplify it",
        param="response_format",
        code="invalid_schema",
    )
