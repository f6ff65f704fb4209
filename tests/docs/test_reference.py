"""Pages that list what the code has are as the code is now."""

import re
from pathlib import Path

import pytest

from trimtab.cli.app import reference_page
from trimtab.types import Attempt, Closed, FeedbackGiven, Opened, SpanEnded, Usage

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


def test_the_page_of_commands_is_fresh():
    mend = "python -m trimtab.cli.app > docs/reference/cli.md"
    assert (ROOT / "docs/reference/cli.md").read_text() == reference_page(), f"stale; run: {mend}"


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("| `o` ", Opened),
        ("| `c` ", Closed),
        ("| `f` ", FeedbackGiven),
        ("| `s` ", SpanEnded),
        ("| each of `attempts` ", Attempt),
        ("| `usage` ", Usage),
    ],
)
def test_the_log_format_names_every_field_in_order(row, kind):
    page = (ROOT / "docs/reference/log-format.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith(row)]
    assert re.findall(r"`(\w+)`", line.split("|")[-2]) == list(kind.__struct_fields__)


def test_the_http_page_names_every_route_and_header():
    page = (ROOT / "docs/reference/http.md").read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "src/trimtab/gateway").glob("*.py"))
    routes = re.findall(r'"(/[a-z0-9/]+)": \{"', source)
    assert len(routes) >= 7
    headers = set(re.findall(r'b"(x-trimtab-[a-z-]*[a-z])"', source))
    assert len(headers) >= 7
    missing = [
        word for word in (*routes, *sorted(headers)) if f"`{word}`" not in page and f" {word}`" not in page
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        found = (page.parent / file).resolve() if file else page
        if not found.exists() or (
            anchor and found.suffix == ".md" and anchor not in anchors(found.read_text())
        ):
            broken.append(target)
    assert not broken


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
