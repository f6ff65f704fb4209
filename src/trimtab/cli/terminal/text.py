"""Foreign text made safe to show.

A terminal obeys escape sequences: text out of a model or the store could retitle the window, rewrite
earlier lines or type commands (CVE-2003-0063 and its many successors). So every character that a terminal
might obey is shown as something visible instead.
"""

import json
import re

_CONTROL_PICTURES = 0x2400
"""Start of the Unicode block whose characters depict C0 controls (U+241B is ESC)."""

_BIDI = (0x061C, *range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that reorder what follows, so that text reads as what it is not (CVE-2021-42574)."""

_LINE_BREAKS = (0x2028, 0x2029)


def _escapes() -> dict[int, str]:
    table = {code: chr(_CONTROL_PICTURES + code) for code in range(0x20)}
    table[0x7F] = "\u2421"
    table.update({code: f"\\x{code:02x}" for code in range(0x80, 0xA0)})
    table.update({code: f"\\u{code:04x}" for code in (*_BIDI, *_LINE_BREAKS, 0xFEFF)})
    return table


_ESCAPES = _escapes()
_KEPT_IN_TEXT = {ord("\n"), ord("\t")}
_TEXT_ESCAPES = {code: shown for code, shown in _ESCAPES.items() if code not in _KEPT_IN_TEXT}
_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text that no terminal obeys; line ends and tabs stay.

    Works character by character, so that a stream may be made safe chunk by chunk.

    >>> printable("red: \x1b[31m!")
    'red: ␛[31m!'
    """
    return _no_surrogates(text.translate(_TEXT_ESCAPES))


def one_line(text: str, limit: int = 0) -> str:
    r"""Return safe text on one line, runs of white space made one space, cut to `limit` characters.

    >>> one_line("a\n\n b\x07", 20)
    'a b␇'
    """
    # Only the start is looked at: a stored text may be megabytes long.
    head = text[: limit * 4] if limit else text
    flat = _no_surrogates(" ".join(head.split()).translate(_ESCAPES))
    return flat[: limit - 1] + "…" if limit and len(flat) > limit else flat


def fit(text: str, cells: int, *, fill: bool = False) -> str:
    """Return a safe line cut to so many terminal cells, filled up with spaces where `fill`.

    >>> fit("日本語", 5), fit("ab", 4, fill=True)
    ('日本…', 'ab  ')
    """
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) > cells:
        text = set_cell_size(text, max(0, cells - 1)).rstrip() + "…"
    return set_cell_size(text, cells) if fill else text


def json_text(value: object, *, indent: int | None = None) -> str:
    r"""Return JSON that is readable and that no terminal obeys: the rest is escaped as `\uXXXX`.

    >>> json_text({"a": "é\x9b"})
    '{"a": "é\\u009b"}'
    """
    # Outside of strings JSON has none of these characters, so the text may be rewritten as a whole.
    return _JSON_UNSAFE.sub(_as_escape, json.dumps(value, ensure_ascii=False, indent=indent))


def _no_surrogates(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub(_as_escape, text)


def _as_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
