"""Steady load on a house whose workers are replaced, from clients as people use them."""

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import openai

from .caller import Question
from .house import House, until

MODEL = "openai/m"
MESSAGES = [{"role": "user", "content": "Say something."}]


@dataclass
class Tally:
    """What the clients saw."""

    answered: Counter[str] = field(default_factory=Counter)
    """By kind of client."""
    failed: list[str] = field(default_factory=list)
    rolls: int = 0
    roll_s: list[float] = field(default_factory=list)
    """From asking for a rolling restart until the last replacement served."""
    closed: int = 0
    """Replies that said `connection: close`."""
    per_s: float = 0.0

    def note(self, kind: str, problem: str) -> None:
        if problem:
            self.failed.append(f"{kind}: {problem}")
        else:
            self.answered[kind] += 1


async def load(house: House, *, per_s: float, seconds: float, rolls: int) -> Tally:
    """Call at `per_s` for `seconds` in all; meanwhile replace the workers `rolls` times.

    A third each comes from an httpx pool, from the openai client without its retries, and from raw connections
    that are kept and used again after pauses of every length.
    """
    tally = Tally()
    began = time.monotonic()
    end = began + seconds
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
    async with (
        httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as pool,
        openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{house.port}/v1", api_key="x", max_retries=0
        ) as client,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(_steadily(per_s / 3, end, lambda: _httpx_call(pool, house.port, tally), tasks))
        tasks.create_task(_steadily(per_s / 3, end, lambda: _openai_call(client, tally), tasks))
        for n in range(RAW_CLIENTS):
            tasks.create_task(_raw_client(house.port, end, n, per_s / 3 / RAW_CLIENTS, tally))
        for n in range(rolls):
            await asyncio.sleep(max(0.0, began + seconds * (n + 0.5) / (rolls + 0.5) - time.monotonic()))
            tally.roll_s.append(await asyncio.to_thread(roll, house))
            tally.rolls += 1
    tally.per_s = sum(tally.answered.values()) / (time.monotonic() - began)
    return tally


RAW_CLIENTS = 20


async def _steadily(per_s, end, make, tasks: asyncio.TaskGroup) -> None:
    due = time.monotonic()
    while due < end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.create_task(make())
        due += 1 / per_s


async def _httpx_call(pool: httpx.AsyncClient, port: int, tally: Tally) -> None:
    body = {"model": MODEL, "messages": MESSAGES}
    try:
        reply = await pool.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body)
    except httpx.HTTPError as error:
        tally.note("httpx", repr(error))
        return
    tally.closed += reply.headers.get("connection") == "close"
    tally.note("httpx", "" if reply.status_code == 200 else f"{reply.status_code} {reply.text[:200]}")


async def _openai_call(client: openai.AsyncOpenAI, tally: Tally) -> None:
    try:
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        pieces = [chunk async for chunk in stream]
    except (openai.OpenAIError, httpx.HTTPError) as error:
        tally.note("openai", repr(error))
        return
    tally.note("openai", "" if pieces else "an empty stream")


async def _raw_client(port: int, end: float, number: int, per_s: float, tally: Tally) -> None:
    """Keep one connection, and call on it after pauses that drift through all lengths."""
    request = Question(f"raw {number}").http()
    pause, link = (0.2 + number / RAW_CLIENTS * 1.6) / per_s, None
    await asyncio.sleep(pause / RAW_CLIENTS * number)
    while time.monotonic() < end:
        try:
            if link is None:
                link = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = link
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            close = b"connection: close" in head.lower()
            tally.closed += close
            tally.note("raw", "" if b" 200 " in head[:20] else repr(head[:100]))
        except (OSError, EOFError, TimeoutError) as error:
            tally.note("raw", repr(error))
            close = True
        if close and link is not None:
            link[1].close()
            link = None
        await asyncio.sleep(pause)
    if link is not None:
        link[1].close()


def roll(house: House) -> float:
    """Replace the workers; return the seconds until the last replacement served."""
    before = house.processes().rollout.number
    began = time.monotonic()
    os.kill(house.processes().supervisor, signal.SIGUSR2)

    def over() -> bool:
        rollout = house.processes().rollout
        return rollout.number > before and not rollout.under_way

    until(over, "the workers are replaced", 120)
    took = time.monotonic() - began
    rollout = house.processes().rollout
    assert not rollout.error, rollout.error
    assert rollout.replaced == house.workers
    return took
