"""Pieces that all targets draw from: bytes cut and mutated, texts that break parsers, JSON of any shape."""

import json
from random import Random
from typing import Any

NASTY = (
    "", "x", "日本", "\u2028", "\u0000", "\\", '"}', "\n\n", "\r\n\r\n", "data: [DONE]\n\n", "[DONE]", "\ud800",
    "a" * 5000,
    "\x1b]0;x\x07", "../../etc/passwd", "${HOME}", "${cmd:id}", "'; drop table calls; --", "\ufeff", "𝔘",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2**31, 2**53 + 1, 2**64, -(2**63), 10**30, 0.1, 1e308, 1e-320)
BITS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"\t",
    b"0\r\n\r\n",
    b"\xff",
    b"\n\n",
    b"data:",
    b"{",
    b"}",
    b'"',
)


def text(rng: Random) -> str:
    """Return a short text, often an awkward one; a lone surrogate never."""
    if rng.random() < 0.5:
        return rng.choice(NASTY).replace("\ud800", "?")
    return "".join(
        chr(rng.choice((rng.randrange(32, 127), rng.randrange(0xA0, 0x3000))))
        for _ in range(rng.randrange(12))
    )


def value(rng: Random, depth: int = 3) -> Any:
    """Return plain data of any shape."""
    kind = rng.randrange(8 if depth else 5)
    if kind == 5:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind > 5:
        return {text(rng): value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return (None, rng.random() < 0.5, rng.choice(NUMBERS), text(rng), rng.randrange(100))[kind]


def dumps(rng: Random, data: Any) -> bytes:
    """Return data as JSON, in one of the ways that programs write it."""
    return json.dumps(data, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, None, 1))).encode()


def cuts(rng: Random, data: bytes, most: int = 8) -> list[bytes]:
    """Return bytes in pieces, as a socket might hand them over; often one byte at a time."""
    if rng.random() < 0.1 and len(data) < 3000:
        return [data[n : n + 1] for n in range(len(data))]
    at = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(most + 1)))
    return [piece for a, b in zip([0, *at], [*at, len(data)], strict=True) if (piece := data[a:b])]


def mutated(rng: Random, data: bytes) -> bytes:
    """Return bytes changed in one to five places."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[at:at] = rng.choice(BITS)
            case 2:
                del changed[at : at + rng.randrange(1, 20)]
            case 3:
                begin = rng.randrange(len(changed) + 1)
                changed[at:at] = changed[begin : begin + rng.randrange(1, 60)]
            case 4:
                del changed[at:]
    return bytes(changed)
