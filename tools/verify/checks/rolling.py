"""Workers replaced under 200 calls a second, from clients as people use them."""

import asyncio

from tests.rigs.house import House
from tests.rigs.rolling import load

from tools.verify.line import Context, Line, at_least, at_most
from trimtab.testing import FakeServer, Pace, Scripted

PER_S, SECONDS, ROLLS = 200, 30, 3
ANSWER = Scripted(text="This is an answer of a few words.", pace=Pace(before_head_s=0.02, between_s=0.005))


def run(context: Context) -> list[Line]:
    """Call all the time, and replace both workers three times."""
    with (
        FakeServer(script=ANSWER) as provider,
        House(context.scratch / "house", provider.base_url, workers=2) as house,
    ):
        tally = asyncio.run(load(house, per_s=PER_S, seconds=SECONDS, rolls=ROLLS))
    made = sum(tally.answered.values()) + len(tally.failed)
    note = f"{dict(tally.answered)}; {tally.closed} replies said `connection: close`; " + "; ".join(
        tally.failed[:3]
    )
    return [
        at_most(
            f"rolling restart, {ROLLS} times: calls that failed of {made:,}", len(tally.failed), 0, "", note
        ),
        at_least("calls a second meanwhile", tally.per_s, 0.95 * PER_S, ""),
        at_most("from asking until both workers are replaced, the longest", max(tally.roll_s), 30, "s"),
    ]
