"""The live tail: how long after its end a call shows, over many calls, in a browser."""

import os

from bench.tail import figures, measure

from tools.verify.line import CannotRun, Context, Line, from_figures

CALLS = int(os.environ.get("VERIFY_TAIL_CALLS", "200"))


def run(context: Context) -> list[Line]:
    """Make the calls, at any moment of the tail's own rhythm."""
    from tests.rigs.browser import MISSING, chromium

    if not chromium():
        raise CannotRun(MISSING)
    context.say(f"  {CALLS} calls, one after the other")
    return from_figures(figures(measure(CALLS, context.scratch)))
