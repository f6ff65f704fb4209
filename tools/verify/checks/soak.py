"""A long run: how the worker's memory moves."""

from bench.gateway import measure, parse
from bench.loading import Missing

from tools.verify.line import CannotRun, Context, Line, from_figures

REQUESTS = 1_200_000


def run(context: Context) -> list[Line]:
    """Send the requests and fit the line."""
    try:
        return from_figures(measure(parse(["--soak", str(REQUESTS)])))
    except Missing as missing:
        raise CannotRun(str(missing)) from missing
