"""Every language says everything, and no template says anything by itself."""

import re
from pathlib import Path

import pytest

import trimtab.console
import trimtab.serve.control
from trimtab.console.words import LANGUAGES, Words
from trimtab.serve.control.machine import COUNTERS
from trimtab.serve.control.tunables import tunables

FOLDER = Path(trimtab.console.__file__).parent
TEMPLATES = sorted((FOLDER / "templates").iterdir())
SPOKEN = ("alt", "aria-label", "placeholder", "title", "data-confirm", "data-label")
MAY_STAND_BARE = {"J", "K", "G", "H", "C", "S", "T", "M", "P", "A", "U", "Enter", "Esc", "Trimtab", "v"}


@pytest.fixture(scope="module")
def tables():
    return Words().tables


def test_every_language_has_every_key(tables):
    for language in LANGUAGES:
        assert set(tables[language]) == set(tables["en"]), language


def test_a_text_has_the_same_places_in_every_language(tables):
    places = {
        language: {key: sorted(re.findall(r"\{(\w+)\}", text)) for key, text in table.items()}
        for language, table in tables.items()
    }
    assert places["ja"] == places["en"]


def test_nothing_is_left_untranslated(tables):
    same = {
        key
        for key, text in tables["en"].items()
        if tables["ja"][key] == text and re.search(r"[a-z]{4}", text)
    }
    assert same <= {"shell.name"}, same


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_bare_text(path):
    text = re.sub(
        r"\{% call snippet.*?endcall %\}", "", path.read_text(), flags=re.DOTALL
    )  # code for a terminal
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", text, flags=re.DOTALL)
    spoken = re.findall(rf'(?:{"|".join(SPOKEN)})="([^"]*)"', text)
    bare = re.sub(r"<[^>]*>", "\n", text).split()
    words = [word for word in [*bare, *spoken] if re.search(r"[^\W\d_]", word) and word not in MAY_STAND_BARE]
    assert not words, words


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_breaks_the_content_policy(path):
    """No inline script, style or handler: the policy would block it, and a test of a page would not notice."""
    text = re.sub(r"\{[{%].*?[%}]\}", "", path.read_text(), flags=re.DOTALL)
    assert "safe" not in "".join(re.findall(r"\{\{.*?\}\}", path.read_text(), flags=re.DOTALL))
    assert not re.search(r"\sstyle\s*=|\son[a-z]+\s*=|<style|javascript:|hx-on", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)


def test_every_key_that_a_template_or_page_names_is_there(tables):
    named = set()
    for path in [*TEMPLATES, *FOLDER.rglob("*.py")]:
        named |= set(re.findall(r"""\bt\(\s*["']([a-z_]+\.[a-z_0-9.]+)["']\s*[,)]""", path.read_text()))
    assert len(named) > 20
    assert named <= set(tables["en"]), named - set(tables["en"])


def test_every_action_of_the_audit_log_has_words(tables):
    """What the control process notes stands on the first page and in the audit log: as words, not as a code."""
    noted = set()
    for path in Path(trimtab.serve.control.__file__).parent.rglob("*.py"):
        noted |= set(
            re.findall(r'"([a-z]+\.[a-z]+)"', " ".join(re.findall(r"action=[^,\n]*", path.read_text())))
        )
    assert len(noted) > 20
    assert {f"action.{action}" for action in noted} <= set(tables["en"])


def test_every_setting_that_can_be_changed_is_told_in_every_language(tables):
    for name in tunables():
        assert f"about.{name}" in tables["en"], name
        assert f"setting.group_{name.partition('.')[0]}" in tables["en"], name


def test_every_counter_of_the_health_page_has_words(tables):
    for name in COUNTERS:
        assert f"health.count_{name}" in tables["en"], name
