"""LiteLLM's proxy and TensorZero beside Trimtab, in one run."""

from bench.loading import Missing
from bench.peers.__main__ import PEERS, measure

from tools.verify.line import CannotRun, Context, Line, from_figures


def run(context: Context) -> list[Line]:
    """Set them up where they are not yet, and measure."""
    try:
        return from_figures(measure(list(PEERS), rounds=2, seconds=4.0, say=context.say))
    except (Missing, RuntimeError) as error:
        raise CannotRun(str(error)) from error
