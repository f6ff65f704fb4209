"""Streamed calls against a provider that fails and cuts: no truncation in silence, and recorded as what it was."""

import json
from random import Random
from typing import Any, Self

import msgspec

from tools.fuzz.house import ATTEMPTS, House
from trimtab.providers.openai.stream import ChunkReader, SseFramer
from trimtab.types import ContentDelta, Done, ProviderFault, ReasoningDelta, RefusalDelta, ToolCallDelta
from trimtab.types.errors import ProviderError

from . import Target
from .streams import stream

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
_FAIL = b"HTTP/1.1 503 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
_ASK = {"model": "p/m", "messages": [{"role": "user", "content": "x"}], "stream": True}
_SPEAKS = (ContentDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)


class Calls(Target):
    """One call, and what the provider says to each try of it."""

    name = "calls"

    def __enter__(self) -> Self:
        self._house = House().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._house.__exit__()

    def make(self, rng: Random) -> Any:
        turns = []
        for _ in range(rng.randrange(1, ATTEMPTS + 2)):
            events, meant = stream(rng, 6)
            data = b"".join(raw for raw, _ in events)
            kind = rng.choice(("good", "good", "cut", "fail"))
            if kind == "cut":
                data = data[: rng.randrange(len(data) - len(events[-1][0]) - len(events[-2][0]) + 1)]
            turns.append({"kind": kind, "data": data, "usage": meant["usage"]})
        return {"turns": turns, "wants_usage": rng.random() < 0.5}

    def check(self, case: Any) -> None:
        ask = _ASK | ({"stream_options": {"include_usage": True}} if case["wants_usage"] else {})
        said = self._house.ask([json.dumps(ask).encode()], [_wire(turn) for turn in case["turns"]])
        tries = len(self._house.asked)
        assert 1 <= tries <= ATTEMPTS, f"{tries} requests for one call, and {ATTEMPTS} are the most"
        last = case["turns"][min(tries, len(case["turns"])) - 1]
        closed = self._house.log.closed()
        assert closed is not None
        seen, done, fault = _read(said.body) if said.status == 200 else ("", False, True)
        assert done != fault, "neither an end nor an error, or both"
        assert done == said.whole or said.status != 200, "the body's end and the stream's disagree"
        assert (closed.state == "ok") == done, f"recorded as {closed.state}"
        told, _, _ = _read(last["data"])
        if done:
            assert last["kind"] == "good", "a cut stream is passed off as a whole one"
            assert seen == told, "other words than the provider's"
            if last["usage"] is not None:
                usage = closed.usage
                assert [usage.input_tokens, usage.output_tokens, usage.cached_tokens] == last["usage"][:3]
                assert not usage.estimated
        elif said.status == 200:
            assert last["kind"] == "cut"
            assert told.startswith(seen)
            assert seen, "an error within a stream that had said nothing could have been tried again"
        for turn in case["turns"][: tries - 1]:
            assert turn["kind"] != "good", "a good answer was asked for again"
            assert turn["kind"] == "fail" or not _read(turn["data"])[0], "tried again after content"


def _wire(turn: Any) -> bytes:
    if turn["kind"] == "fail":
        return _FAIL
    data = turn["data"]
    body = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return _HEAD + body + (b"0\r\n\r\n" if turn["kind"] == "good" else b"")


def _read(data: bytes) -> tuple[str, bool, bool]:
    """Return what a client understands: all words in order, whether the end was marked, whether an error was told."""
    framer, reader, words = SseFramer(), ChunkReader(), []
    done = fault = False
    try:
        for frame in map(reader.read, framer.feed(data)):
            for event in frame.events:
                done |= isinstance(event, Done)
                fault |= isinstance(event, ProviderFault)
                if isinstance(event, _SPEAKS):
                    words.append(msgspec.json.encode(msgspec.to_builtins(event)).decode())
    except ProviderError:
        fault = True
    return "".join(words), done, fault
