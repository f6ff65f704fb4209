"""`python -m tools.fuzz`: fuzz for a while, or play a kept case again. Exit 1 where a promise was broken."""

import argparse
import secrets
import sys
from pathlib import Path

from .plants import BY_NAME, install

OUT = Path("fuzz-failures")


def main() -> int:
    """Parse the command line, fuzz, report; return the exit status."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="in all, shared by the targets (%(default)s)"
    )
    parser.add_argument("--seed", type=int, help="the same seed makes the same cases; default: a new one")
    parser.add_argument("--only", action="append", default=[], help="a target's name; may be repeated")
    parser.add_argument("--out", type=Path, default=OUT, help="where failures are kept (%(default)s)")
    parser.add_argument("--replay", type=Path, help="check one kept failure again, and nothing else")
    parser.add_argument(
        "--plant", choices=sorted(BY_NAME), help="a bug to plant first: for the fuzzer's own trial"
    )
    options = parser.parse_args()
    if options.plant:
        install(BY_NAME[options.plant])
    from .engine import replay, run

    if options.replay:
        said = replay(options.replay)
        print(said or f"{options.replay}: nothing is wrong any more")
        return bool(said)
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:g} s", flush=True)
    cases, failures = run(options.seconds, seed, set(options.only), options.out)
    for name, count in cases.items():
        print(f"{name:12} {count} cases")
    for failure in failures:
        print(f"\n{failure.target}, case {failure.seed}\n{failure.said}")
        print(f"again: python -m tools.fuzz --replay {failure.file}")
    print(f"{len(failures)} failures" if failures else "clean")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
