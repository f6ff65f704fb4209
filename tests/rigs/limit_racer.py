"""A process that makes calls under a limiter as fast as it can: `python limit_racer.py FOLDER WHAT COUNT`.

Prints one line for each call as it was let in, and one at its settlement; unbuffered, so that a kill loses none.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from trimtab.limits import Demand, MappedLimiter, RuleBook
from trimtab.testing.limiters import claims
from trimtab.types import BudgetSpec, LimitExceeded, LimitSpec

BUDGET = BudgetSpec(name="race", amount_nusd=100_000, period="total", wait_s=30)
"""Fits 100 calls of `COST`."""
COST = 1000
AT_ONCE = LimitSpec(name="at-once", concurrency=7)
RATE = LimitSpec(name="rate", requests_per_minute=6000)


def book(what: str) -> RuleBook:
    """Return the rules of a race."""
    limits = {"at-once": [AT_ONCE], "rate": [RATE]}.get(what, [])
    return RuleBook(limits, [BUDGET] if what == "budget" else [])


async def _call(limiter: MappedLimiter, what: str, rules: RuleBook, number: int) -> bool:
    try:
        grant = await limiter.admit(claims(rules), Demand(0, COST, COST))
    except LimitExceeded:
        return False
    os.write(1, b"in %d-%d\n" % (os.getpid(), number))
    await asyncio.sleep(random.random() * 0.004)
    os.write(1, b"out %d-%d\n" % (os.getpid(), number))
    limiter.settle(grant, 0, COST)
    return True


async def main(folder: str, what: str, count: int) -> None:
    """Race with 16 clients until `count` calls each are made or refused."""
    limiter = MappedLimiter(Path(folder))
    rules = book(what)

    async def client(first: int) -> None:
        for number in range(first, first + count):
            if not await _call(limiter, what, rules, number):
                await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as tasks:
        for index in range(16):
            tasks.create_task(client(index * count))
    limiter.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
