"""A long run under fire: faults, reloads, rotations."""

from bench.gateway import measure, parse
from bench.loading import Missing

from tools.verify.line import CannotRun, Context, Line, from_figures

REQUESTS = 3_000_000


def run(context: Context) -> list[Line]:
    """Send the requests, then look at memory, rows and connections."""
    try:
        return from_figures(measure(parse(["--rules", "--soak", str(REQUESTS)])))
    except Missing as missing:
        raise CannotRun(str(missing)) from missing
