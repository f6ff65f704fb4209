"""Streams of a provider at framer, reader, tally and lanes: nothing lost, added, reordered or passed off as whole."""

from random import Random
from typing import Any

import msgspec

from tools.fuzz.grammar import cuts, dumps, mutated, text
from trimtab.pipeline.stages import RawLane, Tally, TypedLane
from trimtab.providers.openai.stream import ChunkReader, SseFramer
from trimtab.types import Done, Frame, Usage
from trimtab.types.errors import ProviderError

from . import Plain

KINDS = (
    "content",
    "content",
    "content",
    "reasoning_content",
    "refusal",
    "tool",
    "usage",
    "both",
    "comment",
    "empty",
)


def stream(rng: Random, most: int = 8) -> tuple[list[tuple[bytes, bool]], dict[str, Any]]:
    """Return events as a provider may write them, each with whether only usage is in it, and what they mean."""
    end = rng.choice((b"\n", b"\n", b"\r\n", b"\r"))
    events: list[tuple[bytes, bool]] = []
    meant: dict[str, Any] = {"texts": {}, "usage": None, "tools": {}}
    said_any = False
    calls: dict[str, dict[int, str]] = {}
    for n in range(rng.randrange(1, most)):
        kind = "content" if n == 0 else rng.choice(KINDS)
        body: dict[str, Any] = {"id": "c", "model": "m", "created": 1, "choices": []}
        choice = rng.choice((0, 0, 0, 1))
        piece = text(rng) if said_any else "a" + text(rng)
        if kind in ("content", "reasoning_content", "refusal", "both"):
            field = "content" if kind == "both" else kind
            body["choices"] = [{"index": choice, "delta": {field: piece}}]
            key = f"{choice}.{field}"
            meant["texts"][key] = meant["texts"].get(key, "") + piece
            said_any = True
        elif kind == "tool":
            call = {
                "index": rng.randrange(2),
                "id": "t",
                "type": "function",
                "function": {"name": "f", "arguments": piece},
            }
            body["choices"] = [{"index": choice, "delta": {"tool_calls": [call]}}]
            arguments = calls.setdefault(str(choice), {})
            arguments[call["index"]] = arguments.get(call["index"], "") + piece
        if kind in ("usage", "both"):
            read, wrote = rng.randrange(2, 10**6), rng.randrange(2, 10**6)
            # Parts lie within their totals; what else providers write, the fixtures of usage have.
            within = [rng.randrange(total // 2) for total in (read, read, wrote, wrote)]
            so_far = meant["usage"] or [0] * 6  # later reports are running totals
            parts = [before + more for before, more in zip(so_far, (read, wrote, *within), strict=True)]
            meant["usage"] = parts
            body["usage"] = {
                "prompt_tokens": parts[0], "completion_tokens": parts[1], "total_tokens": parts[0] + parts[1],
                "prompt_tokens_details": {"cached_tokens": parts[2], "audio_tokens": parts[3]},
                "completion_tokens_details": {"reasoning_tokens": parts[4], "audio_tokens": parts[5]},
            }  # fmt: skip
        line = rng.choice((b"data: ", b"data:")) + msgspec.json.encode(body)
        if rng.random() < 0.15 and end != b"\n":
            line = end.join(b"data: " + part for part in dumps(rng, body).split(b"\n"))
        lines = {"comment": [b": keep-alive"], "empty": [b"data:"]}.get(kind, [line])
        if rng.random() < 0.1:
            lines = [b"event: x", *lines]
        events.append((end.join((*lines, b"", b"")), kind == "usage"))
    finish = msgspec.json.encode({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append((b"data: " + finish + end * 2, False))
    events.append((b"data: [DONE]" + end * 2, False))
    meant["texts"] = {key: said for key, said in meant["texts"].items() if said}
    meant["tools"] = {choice: sorted(said.values()) for choice, said in calls.items()}
    return events, meant


class Streams(Plain):
    """One answer's bytes, whole, cut short or damaged."""

    name = "streams"

    def make(self, rng: Random) -> Any:
        events, meant = stream(rng)
        data = b"".join(raw for raw, _ in events)
        how = rng.choice(("whole", "whole", "short", "damaged"))
        if how == "short":
            data = data[: rng.randrange(len(data))]
        elif how == "damaged":
            data = mutated(rng, data)
        return {
            "how": how,
            "whole": data,
            "pieces": cuts(rng, data),
            "usage_only": [only for _, only in events],
            "events": [raw for raw, _ in events],
            "meant": meant,
            "wants_usage": rng.random() < 0.5,
        }

    def check(self, case: Any) -> None:
        frames, rest, error = _read(case["pieces"])
        again, rest_again, error_again = _read([case["whole"]])
        assert (frames, rest) == (again, rest_again) or error, "cut otherwise, it is framed otherwise"
        assert error == error_again, (error, error_again)
        assert error or b"".join(f.raw for f in frames) + rest == case["whole"], "bytes are lost or added"
        if case["how"] == "damaged":
            return
        assert not error, error
        done = any(isinstance(e, Done) for f in frames for e in f.events)
        if case["how"] == "short":
            last = case["events"][-1]
            assert not done or case["whole"].endswith(last.rstrip(b"\r\n") + last[-1:]), (
                "a cut stream looks whole"
            )
            return
        assert done
        assert rest == b""
        _whole(case, frames)


def _read(pieces: list[bytes]) -> tuple[list[Frame], bytes, str]:
    framer, reader = SseFramer(), ChunkReader()
    frames: list[Frame] = []
    try:
        for piece in pieces:
            frames += [reader.read(raw) for raw in framer.feed(piece)]
    except ProviderError as error:
        return frames, framer.rest, error.code
    return frames, framer.rest, ""


def _whole(case: Any, frames: list[Frame]) -> None:
    """Check the two lanes and the tally against what was meant."""
    wants, meant = case["wants_usage"], case["meant"]
    lane = RawLane(wants_usage=wants)
    out = b"".join(lane.encode(frame) for frame in frames)
    kept = [r for r, only in zip(case["events"], case["usage_only"], strict=True) if wants or not only]
    assert out == b"".join(kept), "the raw lane changed the bytes"
    assert _tallied(frames) == meant, f"added up to {_tallied(frames)!r}, meant {meant!r}"
    typed = TypedLane(wants_usage=True)
    written = b"".join(typed.encode(frame) for frame in frames)
    back, rest, error = _read([written])
    assert (rest, error) == (b"", "")
    assert _tallied(back) == meant, "the typed lane says something else"


def _tallied(frames: list[Frame]) -> dict[str, Any]:
    tally = Tally()
    for event in (e for f in frames for e in f.events if not isinstance(e, Done)):
        tally.add(event)
    made = msgspec.json.decode(tally.completion())
    texts, tools = {}, {}
    for choice in made["choices"]:
        message = choice["message"]
        for field in ("content", "reasoning_content", "refusal"):
            if message.get(field):
                texts[f"{choice['index']}.{field}"] = message[field]
        if calls := message.get("tool_calls"):
            tools[str(choice["index"])] = sorted(call["function"]["arguments"] for call in calls)
    return {"texts": texts, "usage": _parts(tally.usage), "tools": tools}


def _parts(usage: Usage | None) -> list[int] | None:
    if usage is None:
        return None
    return [
        usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.audio_input_tokens, usage.reasoning_tokens,
        usage.audio_output_tokens,
    ]  # fmt: skip
