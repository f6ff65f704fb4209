"""Words for the index and for queries: the same folding on both sides, so that what is indexed can be found.

Scripts written without spaces (Japanese, Chinese; Thai, Lao, Khmer, Burmese) and Hangul are split into
overlapping bigrams, each character starting exactly one token: 東京都 becomes 東京 京都 都. Any of its
characters in a row are then found: as a phrase of bigrams, or, for a single one, by prefix.
Everything else becomes case-folded words without accents. Pure.
"""

import re
import unicodedata

from trimtab.types import CallerError

GAP = "\uf8ff"
"""A token between two pieces of text, so that no phrase reaches across. No query can ask for it."""

MAX_QUERY_TERMS = 64
MAX_QUERY_TOKENS = 512
"""FTS5 parses an expression with a fixed stack; and nobody types more."""

_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17dd"  # Burmese, Khmer
    "\u1100-\u11ff\ua960-\ua97c\uac00-\ud7fb"  # Hangul
    "\u3005-\u3007\u3031-\u3035\u3041-\u3096\u3099\u309a\u309d-\u309f"  # Iteration marks, Hiragana
    "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Katakana
    "\u3105-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_TOKEN = re.compile(f"([{_UNSPACED}]+)|([^\\W_{_UNSPACED}]+)")
_TERM = re.compile(r'"([^"]*)"|([^\s"]+)')


def index_text(pieces: list[str]) -> str:
    """Return the text to hand to the index, whose `ascii` tokenizer splits it at spaces and punctuation.

    Args:
        pieces: texts in their order; a phrase is found within one piece only.
    """
    return f" {GAP} ".join(piece if piece.isascii() else " ".join(_tokens(piece)) for piece in pieces)


def match_expression(text: str) -> str | None:
    """Return the FTS5 expression that finds all words and quoted phrases of a user's search text.

    Nothing of the text reaches FTS5 as syntax. None: the text has no word in it, so nothing can match.

    Raises:
        CallerError: more than 64 terms or 512 tokens.

    >>> match_expression('Refund "due date" 東京都')
    '"refund" "due date" "東京 京都"'
    """
    phrases: list[str] = []
    size = 0
    for quoted, plain in _TERM.findall(text):
        tokens = _tokens(quoted or plain)
        if not tokens:
            continue
        size += len(tokens)
        if len(phrases) >= MAX_QUERY_TERMS or size > MAX_QUERY_TOKENS:
            raise CallerError(
                f"the search text has over {MAX_QUERY_TERMS} terms or {MAX_QUERY_TOKENS} tokens; "
                "search for fewer words"
            )
        phrases.append(_phrase(tokens))
    return " ".join(phrases) or None


def _phrase(tokens: list[str]) -> str:
    """Render one phrase; where it ends in an unspaced run, the text may go on, so that end is left open."""
    last = tokens[-1]
    if len(last) > 1 or not _is_run(last):
        return f'"{" ".join(tokens)}"'
    if len(tokens) > 1 and len(tokens[-2]) == 2 and tokens[-2][1] == last and _is_run(tokens[-2]):
        return f'"{" ".join(tokens[:-1])}"'
    return f'"{" ".join(tokens)}" *'


def _is_run(token: str) -> bool:
    match = _TOKEN.fullmatch(token)
    return match is not None and match[1] is not None


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    for run, word in _TOKEN.findall(unicodedata.normalize("NFKC", text)):
        if run:
            tokens.extend(run[i : i + 2] for i in range(len(run)))
        else:
            folded = word.lower() if word.isascii() else _fold(word)
            if folded:
                tokens.append(folded)
    return tokens


def _fold(word: str) -> str:
    """Return a word without case and accents."""
    parts = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))
