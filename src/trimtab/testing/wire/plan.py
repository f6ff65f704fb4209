"""A reply as it goes over the socket: a list of steps that a connection plays, and a fault may rewrite."""

from http import HTTPStatus
from typing import Literal

import msgspec


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How slowly a reply comes: seconds before its head, before its first part, between parts.

    The first content comes right behind the role chunk that a stream opens with.
    """

    before_head_s: float = 0.0
    before_first_s: float = 0.0
    between_s: float = 0.0
    piece_bytes: int = 0
    """Bytes per write to the socket, `between_s` apart; 0: as they fall."""

    def pause(self, number: int, first_content: int) -> float:
        """Return the seconds before a part, given its number and that of the first content."""
        if not number:
            return self.before_first_s
        return self.between_s if number > first_content else 0.0


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How strong faults are. A stall should outlast the deadline under test, but not the test."""

    stall_s: float = 30.0
    """How long a stall holds the connection, before it is closed."""
    drip_s: float = 0.001
    """Pause after each drop of a dripping reply; timers round it up to about a millisecond."""
    drip_bytes: int = 1
    settle_s: float = 0.05
    """Pause before a reset or cut, so that the peer has read what came before."""
    retry_after_s: float = 1.0
    """What a 429 says in Retry-After."""
    huge_bytes: int = 65 * 1024 * 1024
    """Size of a huge body, line or head."""


class Send(msgspec.Struct, frozen=True):
    """Write these bytes."""

    data: bytes


class Wait(msgspec.Struct, frozen=True):
    """Write nothing for so many seconds."""

    seconds: float


class End(msgspec.Struct, frozen=True):
    """Close the connection: `close` sends FIN, `reset` sends RST."""

    how: Literal["close", "reset"]


Step = Send | Wait | End


class WireReply(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP reply before framing. `parts` are whole server-sent events, or one JSON body."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    parts: tuple[bytes, ...] = ()
    first_content: int = 0
    """Index of the first part that a client sees as content."""
    stream: bool = False
    pace: Pace = Pace()

    def head(self, *extra: tuple[str, str], length: int | None = None) -> bytes:
        """Return status line and headers (RFC 9112).

        Args:
            extra: further headers.
            length: Content-Length to claim instead of the true one; streams are chunked and claim none.
        """
        size = sum(map(len, self.parts)) if length is None else length
        framing = ("transfer-encoding", "chunked") if self.stream else ("content-length", str(size))
        lines = [f"{name}: {value}" for name, value in (*self.headers, *extra, framing)]
        return "\r\n".join([status_line(self.status), *lines, "", ""]).encode("latin-1")

    def frame(self, part: bytes) -> bytes:
        """Return a part in the body's framing: one HTTP chunk in a stream (RFC 9112, section 7.1)."""
        return b"%x\r\n%b\r\n" % (len(part), part) if self.stream and part else part

    def tail(self) -> bytes:
        """Return what ends the body: the last chunk in a stream."""
        return b"0\r\n\r\n" if self.stream else b""

    def upto(self, count: int) -> list[Step]:
        """Return the steps up to and with the first `count` parts, unended."""
        pace = self.pace
        steps: list[Step] = [Wait(pace.before_head_s)] if pace.before_head_s else []
        if count and not pace.before_first_s and not pace.between_s:
            return [*steps, *self.cut(self.head() + b"".join(map(self.frame, self.parts[:count])))]
        steps += self.cut(self.head())
        for number, part in enumerate(self.parts[:count]):
            wait_s = pace.pause(number, self.first_content)
            steps += [*([Wait(wait_s)] if wait_s else []), *self.cut(self.frame(part))]
        return steps

    def cut(self, data: bytes) -> list[Step]:
        """Return the writes for these bytes, in the pace's pieces."""
        size = self.pace.piece_bytes
        if not size:
            return [Send(data)]
        steps: list[Step] = []
        for at in range(0, len(data), size):
            if at and self.pace.between_s:
                steps.append(Wait(self.pace.between_s))
            steps.append(Send(data[at : at + size]))
        return steps

    def steps(self) -> list[Step]:
        """Return the whole, healthy reply."""
        return [*self.upto(len(self.parts)), *([Send(self.tail())] if self.stream else [])]


def status_line(status: int) -> str:
    """Return the first line of a reply, with the registered phrase where there is one."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # 529 and its like are in use, but not registered
        phrase = "Unknown"
    return f"HTTP/1.1 {status} {phrase}"
