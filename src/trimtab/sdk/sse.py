"""Server-sent events, as they arrive: bytes in, whole events out."""


class EventParser:
    """Cuts a byte stream into the data of its events, at any chunking.

    Follows https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6, except that a lone
    carriage return ends no line: no known server sends one, and it would cost a byte of lookahead.
    """

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of each event that this chunk completes."""
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        events: list[bytes] = []
        for raw in lines:
            line = raw[:-1] if raw.endswith(b"\r") else raw
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                self._data.append(b"")
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        return events
