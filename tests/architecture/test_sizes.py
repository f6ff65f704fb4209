"""Bounds on the tail: files, functions, parameters, rooms. Exceptions stand in oversize.txt."""

import ast
from collections.abc import Iterator

FILE_LINES = 400
FUNCTION_LINES = 60  # its docstring aside
PARAMETERS = 7  # self and cls aside
ROOM_FILES = 14

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_nothing_is_oversize_but_what_the_list_names(modules, rooms, root):
    allowed = {
        line.split("#")[0].strip()
        for line in (root / "tests/architecture/oversize.txt").read_text().splitlines()
        if line.split("#")[0].strip()
    }
    found = dict(oversize(modules, rooms, root))
    new = {name: why for name, why in found.items() if name not in allowed}
    assert not new, "Split these; the list of exceptions takes no newcomers:\n" + show(new)
    stale = sorted(allowed - set(found))
    assert not stale, f"These are within bounds now; take them off oversize.txt: {stale}"


def test_the_list_of_exceptions_has_not_grown(root):
    entries = [
        line
        for line in (root / "tests/architecture/oversize.txt").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert len(entries) <= 0, "The list only shrinks: lower this number with it, never raise it."


def oversize(modules, rooms, root) -> Iterator[tuple[str, str]]:
    for module in modules:
        if len(module.lines) > FILE_LINES:
            yield module.name, f"{len(module.lines)} lines, at most {FILE_LINES}"
        for function, qualified in functions(module.tree):
            name = f"{module.name}::{qualified}"
            if (lines := body_lines(function)) > FUNCTION_LINES:
                yield name, f"{lines} lines, at most {FUNCTION_LINES}"
            if (count := parameters(function)) > PARAMETERS:
                yield f"{name}()", f"{count} parameters, at most {PARAMETERS}"
    for room in rooms:
        files = [path for path in room.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
        if len(files) > ROOM_FILES:
            yield f"{room.relative_to(root).as_posix()}/", f"{len(files)} files, at most {ROOM_FILES}"


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[Function, str]]:
    for node in ast.iter_child_nodes(tree):
        inside = prefix
        if isinstance(node, Function):
            yield node, prefix + node.name
        if isinstance(node, Function | ast.ClassDef):
            inside = f"{prefix}{node.name}."
        yield from functions(node, inside)


def body_lines(function: Function) -> int:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    is_docstring = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    return lines - ((first.end_lineno or first.lineno) - first.lineno + 1 if is_docstring else 0)


def parameters(function: Function) -> int:
    a = function.args
    named = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return len([name for name in named if name not in ("self", "cls")]) + bool(a.vararg) + bool(a.kwarg)


def show(found: dict[str, str]) -> str:
    return "\n".join(f"  {name}: {why}" for name, why in sorted(found.items()))
