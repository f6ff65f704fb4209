"""`make coverage`: lines covered by the fast tests, room by room."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

BY_PROCESS = frozenset({"serve", "cli", "__init__.py", "__main__.py", "_version.py"})
"""`serve` and `cli` are tested as processes of their own, which the tests kill; coverage does not see into
those. All other rooms run in the tests' own process, and count."""


@dataclass(slots=True)
class Room:
    """Lines that could run, and lines that did."""

    lines: int = 0
    covered: int = 0

    @property
    def percent(self) -> float:
        """0 to 100; a room without lines is covered."""
        return 100 * self.covered / self.lines if self.lines else 100.0


def measure(report: Path) -> dict[str, Room]:
    """Run the fast tests under coverage and sum up by room.

    Raises:
        RuntimeError: a test failed, so that the figure would mean nothing.
    """
    arguments = ["-n", "2", "--dist", "loadfile", "-m", "not slow", "--cov", "--cov-report", f"json:{report}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError("the tests do not pass: " + " / ".join(done.stdout.strip().splitlines()[-5:]))
    rooms: dict[str, Room] = {}
    for name, one in json.loads(report.read_text())["files"].items():
        parts = Path(name).parts
        place = parts[parts.index("trimtab") + 1 :]
        room = rooms.setdefault(place[0], Room())
        room.lines += one["summary"]["num_statements"]
        room.covered += one["summary"]["covered_lines"]
    return rooms


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            rooms = measure(Path(folder) / "coverage.json")
        except RuntimeError as error:
            print(f"coverage: {error}", file=sys.stderr)
            return 3
    for name, room in sorted(rooms.items()):
        kind = "not counted" if name in BY_PROCESS else "in process"
        print(f"{name:<14} {room.percent:6.1f} %  {room.covered:>5} of {room.lines:<5}  {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
