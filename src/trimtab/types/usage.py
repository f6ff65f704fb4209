"""What a call used, in the parts that providers bill."""

import msgspec


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Billed quantities of one call; every part is a count of tokens.

    `cached_tokens` and `cache_write_tokens` are inside `input_tokens`; `reasoning_tokens` are inside
    `output_tokens`; audio parts are inside their totals: the same nesting as OpenAI's `usage` object
    (platform.openai.com/docs/api-reference/chat/object, field `usage`).
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
