"""Markdown of strangers as HTML: from an allow-list of tags and attributes, everything else is text."""

import re
from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from minijinja import safe

MOST_CHARACTERS = 20_000
"""Longer texts are shown as they are: rendering is for reading, and costs about 1 ms for 2,000 characters."""

_TAGS = frozenset(
    {"", "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"}
    | {"table", "thead", "tbody", "tr", "th", "td"}
    | {f"h{level}" for level in range(1, 7)}
)
_TYPES = frozenset(
    {"inline", "text", "softbreak", "hardbreak", "hr", "code_inline", "code_block", "fence"}
    | {
        f"{name}_{end}"
        for end in ("open", "close")
        for name in (
            "paragraph",
            "em",
            "strong",
            "s",
            "blockquote",
            "bullet_list",
            "ordered_list",
            "list_item",
        )
    }
    | {
        f"{name}_{end}"
        for end in ("open", "close")
        for name in ("link", "heading", "table", "thead", "tbody")
    }
    | {f"{name}_{end}" for end in ("open", "close") for name in ("tr", "th", "td")}
)
_LINK = re.compile(r"(?:https?://|mailto:)[!-~]+", re.IGNORECASE)
_LANGUAGE = re.compile(r"[A-Za-z0-9_+#-]{1,20}")
_HEADINGS = {"h1": "h4", "h2": "h4", "h3": "h5", "h4": "h5", "h5": "h6", "h6": "h6"}
"""An answer's headings stand below those of the page it is shown on."""


def render(text: str) -> str:
    """Return Markdown as HTML that may stand in a page as it is.

    Raw HTML is text, images are links, and links lead to http, https and mailto only. A text that is too long, or
    holds what the list does not know, comes back as escaped text with its lines kept.
    """
    if len(text) > MOST_CHARACTERS:
        return plain(text)
    parser = _parser()
    tokens = parser.parse(text)
    if not _tame(tokens):
        return plain(text)
    return safe(parser.renderer.render(tokens, parser.options, {}))


def plain(text: str) -> str:
    """Return text as HTML, its lines kept by a class."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return safe(f'<p class="as-is">{escaped}</p>')


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt(
        "js-default", {"html": False, "linkify": False, "typographer": False, "maxNesting": 20}
    )
    parser.disable(["image", "html_block", "html_inline", "reference"])
    # The library's own way to choose what a link may be: an attribute in the method's place.
    parser.validateLink = lambda url: _LINK.fullmatch(url) is not None  # type: ignore[method-assign]
    return parser


def _tame(tokens: Sequence[Token]) -> bool:
    """Rewrite attributes to those of the list; return whether every token is on it."""
    for token in tokens:
        if token.type not in _TYPES or token.tag not in _TAGS:
            return False
        token.attrs = _attributes(token)
        token.tag = _HEADINGS.get(token.tag, token.tag)
        if token.type == "fence":
            found = _LANGUAGE.match(token.info)
            token.info = found[0] if found else ""
        if token.children and not _tame(token.children):
            return False
    return True


def _attributes(token: Token) -> dict[str, str | int | float]:
    if token.type == "link_open":
        href = str(token.attrs.get("href", ""))
        if _LINK.fullmatch(href) is None:
            return {}
        return {"href": href, "rel": "noopener noreferrer nofollow ugc", "target": "_blank"}
    if token.type == "ordered_list_open" and str(token.attrs.get("start", "")).isdecimal():
        return {"start": int(token.attrs["start"])}
    if token.type in ("th_open", "td_open") and "right" in str(token.attrs.get("style", "")):
        return {"class": "num"}
    return {}
