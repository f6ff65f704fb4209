"""The server's reader: requests mean the same however they are cut, and whatever is not one is refused."""

from random import Random
from typing import Any

from tools.fuzz.grammar import cuts, mutated
from trimtab.serve.http.head import parse_target
from trimtab.serve.http.reader import Reader, Refused

from . import Plain

Seen = tuple[str, bytes, tuple[tuple[bytes, bytes], ...], bytes, bool]


class Ear:
    """Stands where a connection does, and keeps what the reader hands on."""

    def __init__(self) -> None:
        self.server = self
        self.address = self.client = ("127.0.0.1", 1)
        self.target = parse_target
        self.exchanges: list[Any] = []

    def take(self, exchange: Any) -> None:
        self.exchanges.append(exchange)

    def hush(self) -> None:
        pass

    def fed(self, *_: object) -> None:
        pass


def read(pieces: list[bytes]) -> tuple[list[Seen], int]:
    """Return the requests that pieces hold, and the status that ended them; 0: none."""
    ear = Ear()
    reader, status = Reader(ear), 0  # type: ignore[arg-type]
    try:
        for piece in pieces:
            for at in range(0, len(piece), 8192):
                reader.feed(piece[at : at + 8192])
    except Refused as refused:
        status = refused.status
    seen = []
    for e in ear.exchanges:
        body = b"".join(e._pieces)
        headers = tuple(e.scope["headers"])
        seen.append((e.scope["method"], e.scope["raw_path"], headers, body if e.whole else b"", e.whole))
    return seen, status


class Requests(Plain):
    """One connection's bytes."""

    name = "requests"

    def make(self, rng: Random) -> Any:
        asked = [_request(rng) for _ in range(rng.randrange(1, 5))]
        data = b"".join(raw for raw, _ in asked)
        honest = rng.random() < 0.5
        if not honest:
            data = mutated(rng, data)
        return {
            "whole": data,
            "pieces": cuts(rng, data),
            "meant": [list(meant) for _, meant in asked] if honest else None,
        }

    def check(self, case: Any) -> None:
        seen, status = read(case["pieces"])
        if case["meant"] is not None:
            assert status == 0, f"an honest request is refused with {status}"
            found = [
                [method, path, [list(h) for h in headers], body] for method, path, headers, body, _ in seen
            ]
            assert found == case["meant"], f"read {found!r}, meant {case['meant']!r}"
            assert all(whole for *_, whole in seen)
        else:
            assert status in (0, 400, 431, 501, 505), status
            for _, _, headers, _, _ in seen:
                assert all(name == name.lower() for name, _ in headers), headers
                assert sum(name == b"host" for name, _ in headers) <= 1, headers
        again, status_again = read([case["whole"]])
        assert [s for s in seen if s[4]] == [s for s in again if s[4]], (
            "cut otherwise, it means something else"
        )
        assert status == status_again, (status, status_again)


def _request(rng: Random) -> tuple[bytes, tuple[str, bytes, list[list[bytes]], bytes]]:
    method = rng.choice(("GET", "POST", "PUT", "DELETE"))
    path = rng.choice((b"/", b"/v1/models", b"/a%20b", b"/%E3%81%82", b"/a;b", b"//x"))
    headers = [[b"Host", b"localhost"]]
    for _ in range(rng.randrange(4)):
        name = rng.choice((b"X-One", b"Accept", b"USER-AGENT", b"x-trimtab-user", b"Cookie", b"X-Empty"))
        headers.append([name, rng.choice((b"", b"1", b"a b", b"a,b;c=d", b"v" * 500, b"\xe3\x81\x82"))])
    body, framed = b"", b""
    if method != "GET" or rng.random() < 0.2:
        body = rng.choice(
            (b"", b"{}", b"GET /forged HTTP/1.1\r\nHost: a\r\n\r\n", b"z" * rng.randrange(3000), b"0\r\n\r\n")
        )
        if rng.random() < 0.5:
            headers.append([b"Content-Length", b"%d" % len(body)])
            framed = body
        else:
            headers.append([b"Transfer-Encoding", b"chunked"])
            for piece in cuts(rng, body, 5):
                framed += b"%x%b\r\n%b\r\n" % (len(piece), rng.choice((b"", b";a=b")), piece)
            framed += b"0\r\n%b\r\n" % rng.choice((b"", b"", b"X-Trailer: 1\r\n"))
    lines = [b"%b %b HTTP/1.1" % (method.encode(), path), *(b"%b: %b" % (n, v) for n, v in headers), b"", b""]
    meant = [[name.lower(), value] for name, value in headers]
    return b"\r\n".join(lines) + framed, (method, path, meant, body)
