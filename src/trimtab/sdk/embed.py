"""Embedding long lists: in chunks, several at a time, the order kept."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from trimtab.types import Usage

from .answer import Embeddings

_CHUNK_CHARACTERS = 200_000
"""Providers bound the tokens of one call (OpenAI: 300,000): at most as many, even at a token a character."""

Embed = Callable[[list[str]], Awaitable[Embeddings]]


async def embed_all(embed: Embed, texts: list[str], chunk: int, concurrency: int) -> Embeddings:
    """Return the vectors of all texts, in their order.

    Raises:
        ApiError: a call failed; the others are cancelled.
        ValueError: `chunk` or `concurrency` is below 1.
    """
    if chunk < 1 or concurrency < 1:
        raise ValueError(f"chunk ({chunk}) and concurrency ({concurrency}) must be 1 or more")
    if len(texts) <= chunk and sum(map(len, texts)) <= _CHUNK_CHARACTERS:
        return await embed(texts)
    parts: dict[int, Embeddings] = {}
    todo = enumerate(_chunks(texts, chunk))

    async def work() -> None:
        for at, part in todo:
            parts[at] = await embed(part)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return _joined([parts[at] for at in sorted(parts)])


def _chunks(texts: list[str], most: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    characters = 0
    for text in texts:
        if chunk and (len(chunk) >= most or characters + len(text) > _CHUNK_CHARACTERS):
            yield chunk
            chunk, characters = [], 0
        chunk.append(text)
        characters += len(text)
    yield chunk


def _joined(parts: list[Embeddings]) -> Embeddings:
    usages = [part.usage for part in parts if part.usage is not None]
    costs = [part.cost_nusd for part in parts if part.cost_nusd is not None]
    usage = Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
    )
    return Embeddings(
        vectors=[vector for part in parts for vector in part.vectors],
        usage=usage if len(usages) == len(parts) else None,
        call_id=parts[0].call_id,
        model=parts[0].model,
        cost_nusd=sum(costs) if len(costs) == len(parts) else None,
        call_ids=tuple(call_id for part in parts for call_id in part.call_ids),
    )
