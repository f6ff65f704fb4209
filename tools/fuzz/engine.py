"""The loop: a case after the other, each from a seed of its own; what fails is kept, and can be played again."""

import hashlib
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from .targets import Target, all_targets

DISTINCT = 3
"""Failures kept of one target and place: more of the same teach nothing."""


class Failure(NamedTuple):
    """A case that broke a promise."""

    target: str
    seed: str
    said: str
    file: Path


def run(seconds: float, seed: int, only: set[str], out: Path) -> tuple[Counter[str], list[Failure]]:
    """Fuzz for a while, taking turns; return cases by target, and failures."""
    cases: Counter[str] = Counter()
    failures: list[Failure] = []
    places: Counter[str] = Counter()
    with ExitStack() as stack:
        targets = [stack.enter_context(t) for t in all_targets() if not only or t.name in only]
        share = seconds / max(1, len(targets))
        for target in targets:
            until = time.monotonic() + share
            while time.monotonic() < until:
                name = f"{seed}:{target.name}:{cases[target.name]}"
                cases[target.name] += 1
                case = target.make(Random(name))
                said, place = attempt(target, case)
                if said:
                    places[place] += 1
                    if places[place] <= DISTINCT:
                        failures.append(_keep(target.name, name, case, said, out))
                    if places[place] == DISTINCT:
                        break
    return cases, failures


def attempt(target: Target, case: Any) -> tuple[str, str]:
    """Check a case; return what went wrong, and where; empty where nothing did."""
    try:
        target.check(case)
    except Exception as error:  # noqa: BLE001 - whatever comes out of it is a find
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = "".join(traceback.format_exception(error))
        return said, f"{target.name}:{where.filename}:{where.lineno}"
    return "", ""


def replay(file: Path) -> str:
    """Check a kept case again; return what went wrong, or nothing."""
    kept = msgspec.msgpack.decode(file.read_bytes())
    with ExitStack() as stack:
        for entered in all_targets():
            if entered.name == kept["target"]:
                return attempt(stack.enter_context(entered), kept["case"])[0]
    raise SystemExit(f"{file}: no target is named {kept['target']!r}")


def _keep(target: str, seed: str, case: Any, said: str, out: Path) -> Failure:
    out.mkdir(parents=True, exist_ok=True)
    raw = msgspec.msgpack.encode({"target": target, "seed": seed, "said": said, "case": case})
    file = out / f"{target}-{hashlib.sha256(raw).hexdigest()[:12]}.case"
    file.write_bytes(raw)
    return Failure(target, seed, said, file)
