"""Every block of code in the README and the pages runs, or is checked, or says that it is not.

python, bash, sh    run against a live Trimtab, in the page's order
console             its lines that begin with `$ ` are run; what follows them is for the reader
console scratch     the same in an empty folder of its own
toml, json          must be a good configuration, and good JSON
text                is not run
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from trimtab.config import load_config
from trimtab.ledger import LogWriter
from trimtab.types import FeedbackGiven, new_id

ROOT = Path(__file__).parents[2]
RUN = ("python", "bash", "sh", "console", "console scratch")
CHECKED = ("toml", "json")
NOT_RUN = ("text",)
PAGE_S = 120

PAGES = sorted(
    path
    for path in (ROOT / "README.md", ROOT / "README.ja.md", *(ROOT / "docs").rglob("*.md"))
    if "adr" not in path.relative_to(ROOT).parts
)


class Block(NamedTuple):
    line: int
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    found = []
    for match in re.finditer(r"^(```+)([^\n`]*)\n(.*?)^\1\s*$", page, re.MULTILINE | re.DOTALL):
        found.append(Block(page.count("\n", 0, match.start()) + 1, match[2].strip(), match[3]))
    assert page.count("\n```") + page.startswith("```") == 2 * len(found), "a block is not closed"
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def has(path: Path, *languages: str) -> bool:
    return any(block.language in languages for block in blocks(path.read_text()))


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_block_says_what_it_is(path):
    known = (*RUN, *CHECKED, *NOT_RUN)
    odd = [block[:2] for block in blocks(path.read_text()) if block.language not in known]
    assert not odd, f"{name(path)}: unknown languages; known are {known}: {odd}"


@pytest.mark.parametrize("path", [path for path in PAGES if has(path, *RUN)], ids=name)
def test_the_page_runs(path, world):
    todo = [
        (block.line, block.language, world.fit(block.text))
        for block in blocks(path.read_text())
        if block.language in RUN
    ]
    # Below the project, so that commands find its configuration as a user's would.
    folder = world.folder / f"page-{path.stem}"
    folder.mkdir()
    (folder / ".trimtab").symlink_to(world.folder / ".trimtab")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/docs/run_page.py")],
        input=json.dumps(todo),
        capture_output=True,
        text=True,
        cwd=folder,
        env=world.env,
        timeout=PAGE_S,
        check=False,
    )
    assert done.returncode == 0, f"{name(path)}:\n{done.stdout}\n{done.stderr}"


def test_the_reader_of_the_log_format_page_reads_a_log(tmp_path):
    (block,) = (
        b for b in blocks((ROOT / "docs/reference/log-format.md").read_text()) if b.language == "python"
    )
    writer = LogWriter(tmp_path / ".trimtab" / "log", "worker-1")
    given = FeedbackGiven(new_id(), new_id(), 1, "default", "thumbs", 1.0, "", "é", "", "", "")
    for _ in range(3):
        writer.append(given)
    done = subprocess.run(
        [sys.executable, "-c", block.text], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    writer.close()
    assert [line.split()[1:] for line in done.stdout.splitlines()] == [["f", given.id]] * 3


@pytest.mark.parametrize("path", [path for path in PAGES if has(path, *CHECKED)], ids=name)
def test_its_data_is_good(path, tmp_path):
    env = {f"{who}_API_KEY": "sk-x" for who in ("OPENAI", "GROQ", "MISTRAL", "ANTHROPIC")}
    for block in blocks(path.read_text()):
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
            file = tmp_path / f"{path.stem}-{block.line}.toml"
            file.write_text(block.text)
            load_config(file, env=env)
