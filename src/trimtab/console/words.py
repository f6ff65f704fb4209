"""The words of the pages, in every language: one table a language, out of data files."""

import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Literal, cast

Language = Literal["en", "ja"]

LANGUAGES: tuple[Language, ...] = ("en", "ja")

LANGUAGE_NAMES: dict[Language, str] = {"en": "English", "ja": "日本語"}
"""Each in itself, so that whoever needs it can read it."""

_PLACE = re.compile(r"\{(\w+)\}")

Translate = Callable[..., str]
"""`t("nav.calls")`, `t("calls.last", span="24 h")`: the text of a key, its places filled."""


class Words:
    """All tables. The key `calls.live` is the entry `live` of `words/<language>/calls.json`."""

    def __init__(self) -> None:
        """Read the data files: some milliseconds."""
        self.tables = {language: _read(language) for language in LANGUAGES}

    def translate(self, language: Language) -> Translate:
        """Return the function that gives a language's texts; an unknown key is a KeyError."""
        table = self.tables[language]

        def t(key: str, **places: object) -> str:
            text = table[key]
            return _PLACE.sub(lambda found: str(places[found[1]]), text) if places else text

        return t

    def has(self, key: str) -> bool:
        """Return whether there is such a key."""
        return key in self.tables["en"]


def pick_language(cookie: str, accepted: str) -> Language:
    """Return the language of a visitor: what was chosen before, else what the browser prefers, else English.

    >>> pick_language("", "de, ja;q=0.8, en;q=0.5"), pick_language("en", "ja"), pick_language("xx", "")
    ('ja', 'en', 'en')
    """
    if cookie in LANGUAGES:
        return cookie
    weighed: list[tuple[float, str]] = []
    for part in accepted.split(",")[:20]:
        name, _, weight = part.partition(";q=")
        try:
            quality = float(weight or 1)
        except ValueError:
            continue
        weighed.append((-quality, name.strip().partition("-")[0].lower()))
    best = next((name for _, name in sorted(weighed, key=lambda item: item[0]) if name in LANGUAGES), "en")
    return cast("Language", best)


def _read(language: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for file in sorted(files(__package__).joinpath("words", language).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            group = file.name.removesuffix(".json")
            entries: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
            table |= {f"{group}.{key}": text for key, text in entries.items()}
    return table
