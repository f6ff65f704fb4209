"""Calls across an orderly restart."""

import asyncio

from tests.rigs.caller import Question, Seen, call
from tests.rigs.house import House
from tests.rigs.traffic import answer, usage_of

from tools.verify.line import Context, Line, held
from trimtab.testing import FakeServer

CALLS = 40


def run(context: Context) -> list[Line]:
    """Make calls, end with SIGTERM, start again, and ask for each call."""
    with FakeServer(script=answer) as provider:
        house = House(context.scratch / "house", provider.base_url, workers=2)
        with house:
            seen = asyncio.run(calls(house.port))
            status = house.stop()
            behind = house.alive()
            house.start().wait_until_up()
            missing = [one for one in seen if not is_there(house, one)]
    ok = not (missing or status or behind) and all(one.answered for one in seen)
    note = f"{len(seen)} calls made, {len(seen) - len(missing)} there after it; exit status {status}"
    return [held("calls outlive SIGTERM and a new start", ok, note)]


async def calls(port: int) -> list[Seen]:
    """Half of them streams."""
    questions = [Question(f"call {n}", stream=n % 2 == 0, usage=usage_of(f"call {n}")) for n in range(CALLS)]
    return await asyncio.gather(*(call(port, question) for question in questions))


def is_there(house: House, one: Seen) -> bool:
    """Whether the admin API has the call, with the usage that the client was told."""
    status, row = house.admin(f"/api/v1/calls/{one.call_id}")
    if status != 200 or row["state"] != "ok":
        return False
    usage = row["closed"]["usage"]
    return (usage["input_tokens"], usage["output_tokens"]) == one.question.usage == one.usage
