"""`python -m tools.fuzz.trial`: is the fuzzer worth its time? Plants each bug alone, and counts what is found."""

import argparse
import subprocess
import sys
import tempfile
import time

from .plants import PLANTS


def main() -> int:
    """Run the trial; return 0 where enough was found and the untouched code is clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=28.0, help="for each bug, all targets together (%(default)s)"
    )
    parser.add_argument("--least", type=int, default=9, help="bugs that must be found (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], help="a bug's name; may be repeated")
    options = parser.parse_args()
    found = 0
    chosen = [plant for plant in PLANTS if not options.only or plant.name in options.only]
    with tempfile.TemporaryDirectory() as out:
        common = [
            sys.executable,
            "-m",
            "tools.fuzz",
            "--seconds",
            str(options.seconds),
            "--seed",
            str(options.seed),
        ]
        clean = subprocess.run([*common, "--out", out], capture_output=True, text=True, check=False)
        if clean.returncode:
            print(clean.stdout[-3000:] + clean.stderr[-2000:])
            print("the code fails without any bug of ours")
            return 1
        for plant in chosen:
            began = time.monotonic()
            command = [*common, "--out", out, "--plant", plant.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            by = sorted({line.split(",")[0] for line in done.stdout.splitlines() if ", case " in line})
            if done.returncode != bool(by):  # it fell over by itself, and found nothing
                print(done.stderr[-2000:])
                return 1
            found += done.returncode == 1
            how = f"found by {', '.join(by)}" if by else "NOT FOUND"
            print(f"{plant.name:15} {how:30} {time.monotonic() - began:.0f} s", flush=True)
    print(f"{found} of {len(chosen)} found")
    return 0 if found >= min(options.least, len(chosen)) else 1


if __name__ == "__main__":
    sys.exit(main())
