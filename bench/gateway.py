"""`python -m bench.gateway`: what a call through Trimtab costs, beside nginx and no gateway at all."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .contenders import RULES
from .figures import Figure, as_json, as_markdown, as_table, machine
from .loading import Missing, need, program
from .procfs import Cores
from .sections import SECTIONS, Bench, books
from .servers import NGINX_HOW


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0: every limit holds, 1: one does not, 3: something needed is missing."""
    options = parse(arguments)
    about = machine()
    try:
        figures = measure(options)
    except Missing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 3
    shape = as_json if options.json else as_markdown if options.markdown else as_table
    print(shape(figures, about))
    return 1 if any(f.passed is False for f in figures) else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(SECTIONS), help="run just these sections")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measurement (default 3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured seconds a round (default 4)")
    parser.add_argument(
        "--soak", type=int, default=0, metavar="N", help="instead: N requests, then memory's slope"
    )
    parser.add_argument("--command", default="", help="another gateway's command with {port} and {upstream}")
    parser.add_argument(
        "--rules",
        action="store_true",
        help="with a key, limits, a budget and two routes in force; a soak with faults, reloads and rotations too",
    )
    parser.add_argument("--without-trimtab", action="store_true", help="measure the others only")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> list[Figure]:
    """Run the sections asked for.

    Raises:
        Missing: a tool that cannot be done without is not installed.
    """
    program("load"), program("upstream")
    say(f"load average {os.getloadavg()[0]:.1f}; CPU per request hardly minds neighbours, latency does")
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder:
        bench = Bench(
            folder=Path(folder),
            cores=Cores.of_this_machine(),
            seconds=options.seconds,
            rounds=options.rounds,
            with_trimtab=not options.without_trimtab,
            with_nginx=has_nginx(),
            command=options.command,
            rules=RULES if options.rules else "",
            say=say,
        )
        if options.soak and options.rules:
            from .storm import storm

            return storm(bench, options.soak)
        if options.soak:
            from .soak import soak

            return soak(bench, options.soak)
        figures: list[Figure] = []
        for name in options.only or SECTIONS:
            if name == "tls" and not (bench.with_nginx and bench.with_trimtab):
                say("tls: left out; it needs nginx in front of the upstream, and Trimtab")
                continue
            say(f"{name}:")
            bench.folder = Path(folder) / name
            bench.folder.mkdir()
            figures += SECTIONS[name](bench)
        return figures + books(bench)


def has_nginx() -> bool:
    """Whether nginx is here; where not, say so, since the figures beside it will be missing."""
    try:
        need("nginx", NGINX_HOW)
    except Missing as missing:
        say(f"{missing}; the figures that compare with it are left out")
        return False
    return True


def say(text: str) -> None:
    """Progress goes beside the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
