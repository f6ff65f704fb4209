"""A request as it came, and what must be understood of it; everything else stays as the caller wrote it."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from trimtab.access import Caller
from trimtab.types import CallKind, Purpose
from trimtab.types.errors import CallerError

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_flag = msgspec.json.Decoder(bool).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
T = TypeVar("T")
_NULL = msgspec.Raw(b"null")
_TRUE = msgspec.Raw(b'{"include_usage":true}')
_PARAMS_KEPT = 256
_LONGEST_NAME = 256
_PARAMS_KEPT_BYTES = 4096
_NOT_PARAMETERS = frozenset(
    {"model", "messages", "input", "stream", "stream_options", "user", "safety_identifier", "metadata"}
)


class Ask(msgspec.Struct, frozen=True):
    """One request for a call, free of HTTP."""

    kind: CallKind
    body: bytes
    """The JSON object as received."""
    caller: Caller
    gone: Callable[[], Awaitable[None]] | None = None
    """Returns once the client has gone; None where nobody can tell."""
    client: str = ""
    """The caller's User-Agent."""
    purpose: Purpose = "live"
    session: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()
    trace_parent: str = ""
    parent_call: str = ""
    replay_of: str = ""
    cache: str = ""
    """What the request says of the cache: `no-cache`, `no-store`, or nothing."""


class Parsed(msgspec.Struct):
    """The request's fields, undecoded, and the few that steer the call."""

    fields: dict[str, msgspec.Raw]
    model: str
    """As the caller wrote it; empty where it named none."""
    stream: bool
    wants_usage: bool
    user: str
    params_hash: str


def parse(ask: Ask, params_hash: "ParamsHash") -> Parsed:
    """Read a request.

    Raises:
        CallerError: the body is no JSON object, or `model`, `stream` or the messages are missing or of another type.
    """
    try:
        fields = _decode(ask.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CallerError(f"the body must be a JSON object: {error}") from error
    model = _field(fields, "model", _text, 'a text such as "openai/gpt-4o-mini"') or ""
    if len(model) > _LONGEST_NAME or not model.isprintable():
        raise CallerError(
            f"`model` must be printable and at most {_LONGEST_NAME} characters long", param="model"
        )
    words = "messages" if ask.kind == "chat" else "input"
    if words not in fields:
        raise CallerError(f"`{words}` is missing", param=words)
    stream = False
    if "stream" in fields and ask.kind == "chat":
        stream = bool(_field(fields, "stream", _flag, "true or false"))
    wants_usage = False
    if stream:
        wants_usage = _ask_for_usage(fields)
    user = ask.user
    if not user and "user" in fields:
        user = _field(fields, "user", _text, "a text") or ""
    if not user and "safety_identifier" in fields:
        user = _field(fields, "safety_identifier", _text, "a text") or ""
    return Parsed(fields, model, stream, wants_usage, user[:_LONGEST_NAME], params_hash.of(fields))


def _field(
    fields: dict[str, msgspec.Raw], name: str, decode: Callable[[msgspec.Raw], T], expected: str
) -> T | None:
    raw = fields.get(name)
    if raw is None or raw == _NULL:
        return None
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallerError(f"`{name}` must be {expected}", param=name) from error


def _ask_for_usage(fields: dict[str, msgspec.Raw]) -> bool:
    """Make the provider report usage at the stream's end; return whether the caller asked for it too."""
    options = _field(fields, "stream_options", _object, "an object")
    if not options:
        fields["stream_options"] = _TRUE
        return False
    if options.get("include_usage") is True:
        return True
    fields["stream_options"] = msgspec.Raw(msgspec.json.encode({**options, "include_usage": True}))
    return False


class ParamsHash:
    """Hashes a request's parameters as written: same text, same hash, in any order of fields.

    Applications repeat their parameters call after call, so the last few are remembered.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[bytes, str] = {}

    def of(self, fields: dict[str, msgspec.Raw]) -> str:
        """Return 16 hex digits (BLAKE2b), or nothing where there are no parameters."""
        parameters = {key: raw for key, raw in fields.items() if key not in _NOT_PARAMETERS}
        if not parameters:
            return ""
        written = _encode(parameters)
        found = self._seen.get(written)
        if found is None:
            parts = sorted(b"%b:%b" % (key.encode(), raw) for key, raw in parameters.items())
            found = hashlib.blake2b(b"\n".join(parts), digest_size=8).hexdigest()
            if len(written) <= _PARAMS_KEPT_BYTES:
                if len(self._seen) >= _PARAMS_KEPT:
                    self._seen.clear()
                self._seen[written] = found
        return found
