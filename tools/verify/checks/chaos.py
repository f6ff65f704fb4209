"""`kill -9` of processes under load: no call lost, none doubled, clean starts."""

from importlib.util import find_spec

from tests.rigs.chaos import Chaos

from tools.verify.line import CannotRun, Context, Line, held
from trimtab.providers.own import find_weights

SINGLE = 50
ALL_AT_ONCE = 10
SEED = 20


def run(context: Context) -> list[Line]:
    """Run the rounds; without the own model, one of the four kinds of process could not be killed."""
    if find_spec("xllamacpp") is None:
        raise CannotRun("the own model's runtime is missing; run: pip install 'trimtab[local]'")
    if find_weights() is None:
        raise CannotRun("the own model's weights are not on this machine; run: trimtab models pull")
    report = Chaos(context.scratch / "house", own=True, seed=SEED).run(SINGLE, ALL_AT_ONCE, context.say)
    promise = f"kill -9 under load, {SINGLE} times one process, {ALL_AT_ONCE} times all at once"
    return [held(promise, not report.problems, "; ".join([str(report), *report.problems]))]
