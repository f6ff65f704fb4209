"""Lines covered by the fast tests, in the rooms that run in process."""

from tools.coverage import BY_PROCESS, measure
from tools.verify.line import CannotRun, Context, Line, at_least


def run(context: Context) -> list[Line]:
    """Run the fast tests under coverage; all rooms are shown, those in process count."""
    try:
        rooms = measure(context.scratch / "coverage.json")
    except RuntimeError as error:
        raise CannotRun(str(error)) from error
    counted = [room for name, room in rooms.items() if name not in BY_PROCESS]
    covered, lines = sum(r.covered for r in counted), sum(r.lines for r in counted)
    note = ", ".join(f"{name} {room.percent:.0f}" for name, room in sorted(rooms.items()))
    return [at_least("lines covered in rooms that run in process", 100 * covered / lines, 90, "%", note)]
