"""Giving a reply again: the same request of the same caller, within the time that its route or key allows.

Exact match only. Opt-in, by a route's or a key's `cache_ttl_s`; the key's wins, and 0 there means never.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from trimtab.access import Caller
from trimtab.types import CallKind, Frame, Usage

from .ask import Parsed
from .ports import ReplyCache
from .record import Outcome
from .stages import DONE, Lane
from .state import Plan

MAX_BYTES = 1024 * 1024
"""Largest reply that is kept."""

_LEFT_OUT = frozenset({"model", "stream", "stream_options", "user", "safety_identifier", "metadata", "store"})
"""Fields that the answer's words do not depend on, and those that stand in the key in another form."""
_GOOD_ENDS = frozenset({"stop", "length", "tool_calls", "function_call"})
_FORMAT = b"trimtab-reply-1"
_decode = msgspec.json.Decoder().decode
_canonical = msgspec.json.Encoder(order="deterministic").encode


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """One reply as it is kept."""

    body: bytes
    """What the client gets: a JSON object, or a stream up to its end marker."""
    response: bytes
    """What the ledger gets."""
    model: str
    """`provider/model` that answered."""
    model_served: str
    provider: str
    response_id: str
    fingerprint: str
    finish_reason: str
    made_us: int


_unpack = msgspec.msgpack.Decoder(Kept).decode
_pack = msgspec.msgpack.Encoder().encode


class Slot:
    """One call's place in the cache: where its reply is looked for, and kept."""

    __slots__ = ("_began_us", "_cache", "_clock_us", "_key", "_pieces", "_reads", "_room", "_ttl_us", "kept")

    def __init__(
        self, cache: ReplyCache, key: bytes, ttl_s: float, now_us: Callable[[], int], *, reads: bool = True
    ) -> None:
        """Take a place; with `reads` off its reply is asked for anew, and kept."""
        self._cache = cache
        self._key = key
        self._ttl_us = int(ttl_s * 1e6)
        self._reads = reads
        self._clock_us = now_us
        self._began_us = now_us()
        self._pieces: list[bytes] = []
        self._room = MAX_BYTES
        self.kept: Kept | None = None
        """The reply that is given again, where one was found."""

    def look(self) -> Kept | None:
        """Look for a reply, and leave it in `kept`."""
        if self._reads:
            now_us = self._clock_us()
            found = self._cache.get(self._key, now_us)
            if found is not None:
                try:
                    kept = _unpack(found)
                except msgspec.DecodeError:  # an earlier Trimtab's: it is replaced soon
                    return None
                if (
                    kept.made_us + self._ttl_us > now_us
                ):  # not where it was kept for longer than is allowed now
                    self.kept = kept
        return self.kept

    def age_s(self) -> int:
        """Return how many seconds ago the reply that is given again was made."""
        return max(0, (self._clock_us() - self.kept.made_us) // 1_000_000) if self.kept is not None else 0

    def take(self, piece: bytes) -> None:
        """Take a piece of a stream that has gone out."""
        self._room -= len(piece)
        if self._room >= 0:
            self._pieces.append(piece)
        else:  # too large to be kept, and none of it may pass for the whole
            self._pieces.clear()
            self._room = -1

    def keep(self, kind: CallKind, body: bytes, outcome: Outcome) -> None:
        """Keep a reply that ended well and whole; a stream's pieces where `body` is empty."""
        good = outcome.finish_reason in _GOOD_ENDS if kind == "chat" else True
        body = body or b"".join(self._pieces).removesuffix(DONE)
        if not good or outcome.degraded or not body or len(body) > MAX_BYTES:
            return
        now_us = self._clock_us()
        kept = Kept(
            body,
            outcome.response,
            outcome.model,
            outcome.model_served,
            outcome.provider,
            outcome.response_id,
            outcome.fingerprint,
            outcome.finish_reason,
            now_us,
        )
        self._cache.put(self._key, _pack(kept), now_us + self._ttl_us, self._began_us)


class KeptLane:
    """A stream's lane that also takes what it writes into the call's place in the cache."""

    __slots__ = ("_encode", "_take")

    def __init__(self, lane: Lane, slot: Slot) -> None:
        self._encode = lane.encode
        self._take = slot.take

    def encode(self, frame: Frame) -> bytes:
        """Return the bytes for the client."""
        data = self._encode(frame)
        self._take(data)
        return data


def ttl_s(caller: Caller, plan: Plan, control: str) -> float:
    """Return how long a reply to this call may be given again; 0 where it may not.

    Args:
        caller: whose key may say so.
        plan: what was asked for, whose route may.
        control: what the request says: `no-store` neither reads nor keeps (RFC 9111, section 5.2.1).

    A caller whose words are not to be kept has no cache: it would keep them.
    """
    if control == "no-store" or caller.payload != "full":
        return 0.0
    return plan.cache_ttl_s if caller.cache_ttl_s is None else caller.cache_ttl_s


def reply_key(caller: Caller, kind: CallKind, plan: Plan, parsed: Parsed) -> bytes:
    """Return where a call's reply stands: 32 bytes (BLAKE2b) of who asks, whom, how and what.

    Two requests share a key only where project, API key, release, route, form of the reply and every field that the
    answer depends on are the same JSON values; the order of an object's members does not count.
    """
    digest = hashlib.blake2b(_FORMAT, digest_size=32)
    form = b"%d%d" % (parsed.stream, parsed.wants_usage)
    for part in (caller.project, caller.key, kind, plan.route, plan.release):
        _add(digest, part.encode())
    _add(digest, form)
    for name in sorted(parsed.fields.keys() - _LEFT_OUT):
        _add(digest, name.encode())
        _add(digest, _normal(parsed.fields[name]))
    return digest.digest()


def _add(digest: Any, part: bytes) -> None:  # noqa: ANN401 - hashlib has no public type
    digest.update(len(part).to_bytes(4, "big"))  # so that parts cannot be told apart in two ways
    digest.update(part)


def _normal(raw: msgspec.Raw) -> bytes:
    try:
        return _canonical(_decode(raw))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return bytes(raw)


NOTHING_USED = Usage()
"""What a reply that is given again costs: the provider was not asked."""
