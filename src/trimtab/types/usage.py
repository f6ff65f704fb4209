"""What a call used, in the parts that providers bill."""

import msgspec


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Billed quantities of one call; counts of tokens where nothing else is said.

    `cached_tokens` and `cache_write_tokens` are inside `input_tokens`; `reasoning_tokens` are inside
    `output_tokens`; audio and image parts are inside their totals: the same nesting as OpenAI's `usage` object
    (platform.openai.com/docs/api-reference/chat/object, field `usage`). New fields are appended: the log has them
    by position.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    estimated: bool = False
    """True where the provider never said, and the figure is ours."""
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Those of `cache_write_tokens` that the provider keeps for an hour instead of five minutes."""
    citation_tokens: int = 0
    """Text that the provider fetched and read itself, beside `input_tokens`."""
    searches: int = 0
    """Searches of the web that the provider made, a count."""
    tier: str = ""
    """Service tier as the provider names it; empty: its ordinary one."""
    reported_cost_nusd: int | None = None
    """What the provider itself says that the call cost; None where it says nothing."""

    @property
    def known(self) -> bool:
        """Whether there is any figure in it: a report of nothing but zeros says nothing."""
        return bool(self.input_tokens or self.output_tokens or self.reported_cost_nusd)


def later(before: Usage, now: Usage) -> Usage:
    """Return what two reports on one call come to, the second the later one.

    Reports within a stream are running totals, so the later one holds; but some providers say the input in the first
    and the output in the last alone, or end with zeros. So no part falls below what was reported before.
    """
    if now.input_tokens >= before.input_tokens and now.output_tokens >= before.output_tokens:
        return now
    parts = {
        name: max(getattr(before, name), getattr(now, name))
        for name in Usage.__struct_fields__
        if name not in ("tier", "estimated", "reported_cost_nusd")
    }
    cost = before.reported_cost_nusd if now.reported_cost_nusd is None else now.reported_cost_nusd
    return Usage(**parts, tier=now.tier or before.tier, reported_cost_nusd=cost)
