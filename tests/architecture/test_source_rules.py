"""Rules of the source that no linter knows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PROVIDERS = {
    "openai",
    "own",
    "fake",
    "anthropic",
    "azure",
    "gemini",
    "vertex",
    "mistral",
    "ollama",
    "bedrock",
}
MAY_KNOW_PROVIDERS = tuple(f"src/trimtab/{room}/" for room in ("providers", "config", "serve", "testing"))
"""Providers themselves; the configuration, with its section for the own model; composition; the fake."""

BROAD_PER_1000 = 0.3

FORBIDDEN = re.compile(
    r"(?-i:/(?:root|work|Users/\w+)/)|/opt/(?:wheels|pypi)|(?:pypi|npmjs|python-?hosted)\.(?:org|com)|"
    + re.escape(f"{Path(__file__).resolve().parents[2]}/"),
    re.IGNORECASE,
)
"""Paths of one person's machine, this checkout's own among them, and hosts of package registries."""


def test_nobody_branches_on_a_providers_name(modules):
    """Facts about providers and models are data; a name in a comparison is where they stop being so."""
    found = [
        f"{module.at(node)} compares with {names}"
        for module in modules
        if not module.name.startswith(MAY_KNOW_PROVIDERS)
        for node, names in compared_names(module.tree)
    ]
    assert not found, "\n".join(found)


def compared_names(tree: ast.AST) -> Iterator[tuple[ast.AST, list[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            inside = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            inside = [node.value]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("startswith", "removeprefix"):
            inside = node.args
        else:
            continue
        names = sorted({text for part in inside for text in constants(part) if text.rstrip("/") in PROVIDERS})
        if names:
            yield node, names


def constants(node: ast.AST) -> list[str]:
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def test_broad_excepts_are_rare_and_give_their_reason(modules):
    broad, silent = [], []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler) and is_broad(node):
                broad.append(module.at(node))
                if not reason(module.lines[node.lineno - 1]):
                    silent.append(module.at(node))
    lines = sum(len(module.lines) for module in modules)
    per_1000 = len(broad) * 1000 / lines
    assert not silent, f"a broad except says in a comment on its line why: {silent}"
    assert per_1000 <= BROAD_PER_1000, f"{per_1000:.2f} per 1,000 lines ({len(broad)} in {lines}): {broad}"


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether it swallows anything: one that ends in a bare `raise` lets everything pass."""
    if handler.type is None:
        names = {"BaseException"}
    else:
        names = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)}
    last = handler.body[-1]
    passes_on = isinstance(last, ast.Raise) and last.exc is None
    return bool(names & {"Exception", "BaseException"}) and not passes_on


def reason(line: str) -> str:
    comment = line.partition("#")[2]
    return re.sub(r"noqa(:\s*[A-Z0-9, ]+)?|type:\s*ignore\S*", "", comment).strip(" -#:")


def test_no_module_holds_state_that_changes(modules):
    """Constants are UPPER_CASE or Final; a lower-case list in a module is a variable that all share."""
    found = []
    for module in modules:
        for node in module.tree.body:
            for name in mutable_targets(node):
                if name != "__all__" and name != name.upper():
                    found.append(f"{module.at(node)} {name}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Global):
                found.append(f"{module.at(node)} global {', '.join(node.names)}")
    assert not found, "\n".join(found)


def mutable_targets(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        value, targets = node.value, node.targets
    elif isinstance(node, ast.AnnAssign) and node.value and "Final" not in ast.dump(node.annotation):
        value, targets = node.value, [node.target]
    else:
        return []
    displays = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    called = value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else ""
    makers = ("list", "dict", "set", "defaultdict", "deque", "Counter")
    mutable = isinstance(value, displays) or called in makers
    return [t.id for t in targets if isinstance(t, ast.Name)] if mutable else []


def test_nothing_names_the_machine_it_was_written_on(root):
    found = []
    for folder in ("src", "bench", "tools", "docs", "tests", ".ci"):
        for path in (root / folder).rglob("*"):
            hidden = any(part.startswith(".") and part != ".ci" for part in path.relative_to(root).parts)
            if (
                hidden
                or not path.is_file()
                or path.suffix in (".pyc", ".png")
                or path.name == "test_source_rules.py"
            ):
                continue
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
            found += [f"{path.relative_to(root)}: {hit}" for hit in FORBIDDEN.findall(text)]
    for name in ("Makefile", "README.md", "pyproject.toml", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml"):
        found += [f"{name}: {hit}" for hit in FORBIDDEN.findall((root / name).read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def test_no_name_says_nothing(modules):
    """Manager, Helper, Util and Base are what a class is called when nobody knows what it does."""
    vague = re.compile(r"(Manager|Helper|Utils?)$|^Base[A-Z]")
    found = [
        f"{module.at(node)} {node.name}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and vague.search(node.name)
    ]
    assert not found, "\n".join(found)


def test_nothing_is_left_for_later(modules):
    found = [
        f"{module.name}:{number}"
        for module in modules
        for number, line in enumerate(module.lines, 1)
        if re.search(r"#.*\b(TODO|FIXME|XXX|HACK)\b", line) or "NotImplementedError" in line
    ]
    assert not found, "\n".join(found)
