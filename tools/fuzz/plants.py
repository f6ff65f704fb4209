"""Ten bugs of the kind that is really made, to be planted in a process of their own: what a fuzzer is worth."""

import importlib.util
import sys
from pathlib import Path
from typing import NamedTuple

from tools.mutate import Hook

ROOT = Path(__file__).resolve().parents[2]


class Plant(NamedTuple):
    """One change of one line; where a line has moved, the first of the places that has it."""

    name: str
    what: str
    places: tuple[tuple[str, str, str], ...]
    """(module, before, after)."""


def _one(name: str, what: str, module: str, before: str, after: str) -> Plant:
    return Plant(name, what, ((module, before, after),))


_STREAM = "trimtab.providers.openai.stream"
_TRIES = "self._counts[key] = count = self._counts.get(key, 0) + 1"

PLANTS = (
    _one("framing", "a blank line that comes in two reads is missed", _STREAM,
         "look = max(0, len(held) - _LONGEST_BREAK + 1)", "look = len(held)"),
    _one("sse-decode", "an event with usage beside content is taken for one with usage alone", _STREAM,
         "not choices and usage is not None)", "usage is not None)"),
    _one("tally", "of a choice's pieces only the last block is kept", "trimtab.pipeline.stages",
         "self.usage = usage if self.usage is None else later(self.usage, usage)", "self.usage = self.usage or usage"),
    _one("header-parser", "names of headers keep their case", "trimtab.serve.http.reader",
         "self._headers.append((name.lower(), value.rstrip()))", "self._headers.append((name, value.rstrip()))"),
    _one("chunked-reader", "a chunk of one byte is lost", "trimtab.serve.http.reader",
         "incoming.feed(body)", "incoming.feed(body if len(body) > 1 else b'')"),
    Plant("retry", "a target is tried once more than it may be", (
        ("trimtab.pipeline.attempts.tries", _TRIES, _TRIES.replace(" + 1", " + (key in self._counts)")),
    )),
    _one("usage-sum", "cached tokens are counted as reasoning", "trimtab.providers.openai.usage",
         "prompt.cache_write_tokens, completion.reasoning_tokens,", "prompt.cache_write_tokens, prompt.cached_tokens,"),
    _one("redaction", "values of headers are shown", "trimtab.config.visible",
         'tree["headers"] = {name: hide(value)', 'tree["headers"] = {name: value'),
    _one("size-limit", "a body in pieces may be one byte over its limit", "trimtab.gateway.requests",
         "        if size > limit:\n", "        if size > limit + 1:\n"),
    _one("json-depth", "JSON too deep to read is a fault of ours", "trimtab.pipeline.ask",
         "except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:",
         "except (msgspec.DecodeError, UnicodeDecodeError) as error:"),
)  # fmt: skip
BY_NAME = {plant.name: plant for plant in PLANTS}


def install(plant: Plant) -> None:
    """Have this process import a module with a bug; before anything of ours is imported.

    Raises:
        SystemExit: the line is not there any more, and the plant has to follow it.
    """
    for module, before, after in plant.places:
        path = ROOT / "src" / Path(*module.split(".")).with_suffix(".py")
        if not path.is_file():
            continue
        source = path.read_text()
        if before in source:
            assert module not in sys.modules, f"{module} is imported already"
            sys.meta_path.insert(0, Hook(module, path, source.replace(before, after)))  # type: ignore[arg-type]
            importlib.util.find_spec(module.partition(".")[0])
            return
    raise SystemExit(f"the plant {plant.name!r} fits nowhere any more: look at tools/fuzz/plants.py")
