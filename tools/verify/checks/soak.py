"""A long run: how the worker's memory moves."""

import argparse

from bench.gateway import measure
from bench.loading import Missing

from tools.verify.line import CannotRun, Context, Line, from_figures

REQUESTS = 1_200_000


def run(context: Context) -> list[Line]:
    """Send the requests and fit the line."""
    options = argparse.Namespace(
        only=None, rounds=1, seconds=4.0, soak=REQUESTS, command="", without_trimtab=False
    )
    try:
        return from_figures(measure(options))
    except Missing as missing:
        raise CannotRun(str(missing)) from missing
