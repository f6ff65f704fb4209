"""Segments of the log at their reader: damage costs the records it hits, and no other; nothing is made up."""

from random import Random
from typing import Any

import msgspec

from tools.fuzz.grammar import cuts, mutated, text
from trimtab.ledger.frames import FrameEncoder, FrameScanner, Header, encode_header
from trimtab.types import FeedbackGiven, FormatTooNew

from . import Plain

SEGMENT = bytes(range(16))


class Segments(Plain):
    """One segment's bytes."""

    name = "segments"

    def make(self, rng: Random) -> Any:
        records = [[f"r{n}", text(rng), text(rng)] for n in range(rng.randrange(1, 8))]
        encoder = FrameEncoder(SEGMENT)
        frames = [bytes(encoder.encode(_record(r))) for r in records]
        head = encode_header(Header(created_us=1, writer_id=bytes(16), segment_id=SEGMENT))
        how = rng.choice(("whole", "over", "any"))
        body, hit = b"".join(frames), [0, 0]
        if how == "over":
            at = rng.randrange(len(body))
            length = min(rng.randrange(1, 40), len(body) - at)
            body = body[:at] + rng.randbytes(length) + body[at + length :]
            hit = [at, at + length]
        elif how == "any":
            body = mutated(rng, body)
        return {"records": records, "sizes": [len(f) for f in frames], "how": how, "hit": hit,
                "whole": head + body, "pieces": cuts(rng, head + body)}  # fmt: skip

    def check(self, case: Any) -> None:
        meant = [_record(r) for r in case["records"]]
        found = _scan(case["pieces"])
        assert found == _scan([case["whole"]]), "cut otherwise, other records are found"
        assert all(record in meant for record in found), "a record is made up"
        if case["how"] == "any":
            return
        spared, at = [], 0
        for record, size in zip(meant, case["sizes"], strict=True):
            if case["how"] == "whole" or at + size <= case["hit"][0] or at >= case["hit"][1]:
                spared.append(record)
            at += size
        assert [r for r in found if r in spared] == spared, (
            f"{len(spared)} records are whole, {len(found)} found"
        )


def _record(fields: list[str]) -> FeedbackGiven:
    names = dict(id=fields[0], call_id="c", at_us=1, project="default", name="n", score=None, value="")
    return FeedbackGiven(**names, comment=fields[1], correction="", user=fields[2], key="")  # type: ignore[arg-type]


def _scan(pieces: list[bytes]) -> list[Any]:
    """Return the records of a segment that grows by pieces."""
    scanner, data, found = FrameScanner(SEGMENT), b"", []
    for piece in pieces:
        data += piece
        try:
            found += [framed.record for framed in scanner.feed(data[scanner.offset :])]
        except FormatTooNew:
            return found
    return [r for r in found if isinstance(r, msgspec.Struct)]
