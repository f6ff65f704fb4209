"""Mutation test: change one thing in a file at a time, and see whether the tests notice.

    python tools/mutate.py src/trimtab/ledger/frames.py --min 85 -- pytest tests/unit/ledger/test_frames.py

Prints killed / total and the mutants that survived, and exits with 1 under `--min` percent. The file itself
is never touched: each mutant is handed to the tests by an import hook, in a process forked for it, so other
work in the checkout goes on. Only tests that import the module in their own process see it.

Left out, since no test could or should notice: docstrings, annotations, `__all__`, `__slots__`, the wording
of errors (string parts inside `raise`), names of `cast`, and lines that end in `# pragma: no mutate`.
Hypothesis runs derandomized, without its database and without shrinking.
"""

import argparse
import ast
import copy
import importlib.metadata
import importlib.util
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_COMPARE: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
}  # fmt: skip
_PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--tb=short"]
"""Stop at the first failure, and do not prepare to explain it: rewriting asserts is slower than the tests."""
_UNSEEN_NAMES = {"__all__", "__slots__"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the line, what stood there, what stands there now, and the whole source with it."""

    line: int
    before: str
    after: str
    source: str


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in a node's place."""
    if isinstance(node, (ast.Compare, ast.Call)):
        yield from part_changes(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in other_constants(node.value))
    elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)):
        if type(node.op) in _OPERATORS:
            changed = copy.deepcopy(node)
            changed.op = _OPERATORS[type(node.op)]()
            yield changed
    elif isinstance(node, (ast.IfExp, ast.If, ast.While)):
        changed = copy.deepcopy(node)
        changed.test = ast.UnaryOp(ast.Not(), node.test)
        yield changed
    elif isinstance(node, ast.stmt):
        yield from statement_changes(node)


def part_changes(node: ast.Compare | ast.Call) -> Iterator[ast.AST]:
    """Yield a comparison with one operator changed, or a call with one keyword argument left out."""
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            compare = copy.deepcopy(node)
            compare.ops[at] = _COMPARE[type(op)]()
            yield compare
    else:
        for at in range(len(node.keywords)):
            call = copy.deepcopy(node)
            del call.keywords[at]
            yield call


def statement_changes(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield what may stand in a statement's place."""
    if isinstance(node, ast.Return) and node.value is not None and not is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and not is_none(node.value):
        changed = copy.deepcopy(node)
        changed.value = ast.Constant(None)
        yield changed
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, (ast.Raise, ast.Delete)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Await))
    ):
        yield ast.Pass()


def other_constants(value: object) -> list[object]:
    """Return values that differ from a constant a little."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value + 1]
    if isinstance(value, str):
        return [f"XX{value}XX"]
    if isinstance(value, bytes):
        return [b"XX" + value + b"XX"]
    return []


def is_none(node: ast.AST) -> bool:
    """Tell whether a node is the constant None."""
    return isinstance(node, ast.Constant) and node.value is None


def places(tree: ast.Module) -> Iterator[tuple[ast.AST, Callable[[ast.AST], None]]]:
    """Yield each node that may be changed, with a function that puts another in its place."""
    todo: list[ast.AST] = [tree]
    while todo:
        parent = todo.pop()
        for name, field in ast.iter_fields(parent):
            if unseen(parent, name):
                continue
            for at, child in enumerate(field) if isinstance(field, list) else [(None, field)]:
                if not isinstance(child, ast.AST) or is_docstring(child) or words_of_error(parent, child):
                    continue
                if assigns_unseen(child):
                    continue
                todo.append(child)
                yield child, setter(parent, name, at)


def setter(parent: ast.AST, name: str, at: int | None) -> Callable[[ast.AST], None]:
    """Return a function that sets a node's field, or one element of it."""

    def put(node: ast.AST) -> None:
        if at is None:
            setattr(parent, name, node)
        else:
            getattr(parent, name)[at] = node

    return put


def unseen(parent: ast.AST, field: str) -> bool:
    """Tell whether a field has no effect when the program runs, or none that a test should pin."""
    if field in ("annotation", "returns", "decorator_list", "type_params"):
        return True
    # Exceptions are chained for people; and a f-string's format is a matter of wording.
    return (isinstance(parent, ast.Raise) and field == "cause") or field == "format_spec"


def assigns_unseen(node: ast.AST) -> bool:
    """Tell whether a statement sets names that only tools look at, or a type alias or variable."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if any(isinstance(target, ast.Name) and target.id in _UNSEEN_NAMES for target in targets):
        return True
    value = node.value
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in ("TypeVar", "ParamSpec", "NewType")
    return isinstance(value, ast.Subscript) and ast.unparse(value.value) in (
        "Literal",
        "Callable",
        "dict",
        "list",
    )


def is_docstring(node: ast.AST) -> bool:
    """Tell whether a statement is a string that nothing uses."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def words_of_error(parent: ast.AST, node: ast.AST) -> bool:
    """Tell whether a string is the text of an error, or the type that `cast` is told in words."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(parent, ast.Raise) and isinstance(node, ast.Call):
        node._is_error = True  # type: ignore[attr-defined]
        return False
    if isinstance(parent, ast.Call):
        text = isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        return text and (hasattr(parent, "_is_error") or ast.unparse(parent.func) in ("cast", "typing.cast"))
    return False


def mutants_of(path: Path) -> list[Mutant]:
    """Return all mutants of a file, in the order of its lines."""
    text = path.read_text()
    spared = {n for n, line in enumerate(text.splitlines(), 1) if "# pragma: no mutate" in line}
    tree = ast.parse(text)
    found = []
    for node, put in list(places(tree)):
        line = getattr(node, "lineno", 0)
        if line in spared:
            continue
        for changed in changes(node):
            put(changed)
            source = ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree)))
            put(node)
            found.append(Mutant(line, headline(node), headline(changed), source))
    return sorted(found, key=lambda mutant: mutant.line)


def headline(node: ast.AST) -> str:
    """Return a node's source, cut to one short line."""
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0][:90]


class Hook:
    """Imports one module from a source of our own."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self.module, self.path, self.source = module, path, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """See importlib.abc.MetaPathFinder."""
        return (
            importlib.util.spec_from_loader(name, self, origin=str(self.path))
            if name == self.module
            else None
        )

    def create_module(self, spec: object) -> None:
        """See importlib.abc.Loader."""

    def exec_module(self, module: object) -> None:
        """See importlib.abc.Loader."""
        module.__file__ = str(self.path)  # type: ignore[attr-defined]
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)  # type: ignore[attr-defined]


def run_tests(module: str, path: Path, source: str, arguments: list[str], scratch: Path) -> int:
    """Fork a process that runs the tests against a source; return its pid. It exits with pytest's status."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setsid()  # so that whatever the tests start can be ended with them
        log = os.open(scratch / f"log-{os.getpid()}", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.meta_path.insert(0, Hook(module, path, source))
        import pytest

        status = int(pytest.main([*_PYTEST, *arguments], [Repeatable()]))
    except BaseException:  # noqa: BLE001 - a fork must never return into the loop that made it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def preload() -> None:
    """Import what every run needs, pytest's plugins above all, once, so that a fork has it."""
    for plugin in importlib.metadata.entry_points(group="pytest11"):
        plugin.load()


class Repeatable:
    """A pytest plugin: hypothesis draws the same examples in every run, and remembers none."""

    def pytest_configure(self) -> None:
        """Build on the profile that the tests' own conftest has loaded by now."""
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", settings(), database=None, derandomize=True, phases=phases)
        settings.load_profile("mutants")


def wait_all(running: dict[int, tuple[int, float]], limit_s: float) -> Iterator[tuple[int, str]]:
    """Yield (number, outcome) of runs that have ended, ending those past the limit; polls every 5 ms."""
    for pid, (number, began) in list(running.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            if time.monotonic() - began < limit_s:
                continue
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            outcome = "killed (time)"
        else:
            outcome = "survived" if status == 0 else "killed"
        del running[pid]
        yield number, outcome
    time.sleep(0.005)


def run_all(mutants: list[Mutant], run: Callable[[str], int], *, jobs: int, limit_s: float) -> dict[int, str]:
    """Run the tests against every mutant, `jobs` at a time; return outcomes by number."""
    outcomes: dict[int, str] = {}
    waiting = list(range(len(mutants)))
    running: dict[int, tuple[int, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            number = waiting.pop(0)
            running[run(mutants[number].source)] = (number, time.monotonic())
        for number, outcome in wait_all(running, limit_s):
            outcomes[number] = outcome
            if sys.stderr.isatty():
                print(f"\r{len(outcomes)}/{len(mutants)}", end="", file=sys.stderr)
    return outcomes


def module_name(path: Path) -> str:
    """Return the dotted name that tests import a file by."""
    parts = path.resolve().relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_file(
    path: Path, arguments: list[str], options: argparse.Namespace, scratch: Path
) -> tuple[int, int]:
    """Run all mutants of one file; print what survived; return (killed, total)."""

    def run(source: str) -> int:
        return run_tests(module_name(path), path, source, arguments, scratch)

    began = time.monotonic()
    outcome = run_all([Mutant(0, "", "", path.read_text())], run, jobs=1, limit_s=600)[0]
    took_s = time.monotonic() - began
    if outcome != "survived":
        logs = sorted(scratch.glob("log-*"))
        sys.exit(f"the tests fail without any mutant:\n{logs[-1].read_text()[-3000:]}")
    limit_s = options.timeout or 3 * options.jobs * took_s + 5
    mutants = mutants_of(path)
    outcomes = run_all(mutants, run, jobs=options.jobs, limit_s=limit_s)
    killed = sum(outcome != "survived" for outcome in outcomes.values())
    for number, mutant in enumerate(mutants):
        if outcomes[number] == "survived":
            print(f"{path}:{mutant.line}: survived: {mutant.before}  →  {mutant.after}")
    timed_out = sum("time" in outcome for outcome in outcomes.values())
    print(
        f"{path}: {killed}/{len(mutants)} killed ({100 * killed / max(len(mutants), 1):.1f} %), {timed_out} "
        f"of them by the time limit of {limit_s:.0f} s; {time.monotonic() - began:.0f} s"
    )
    return killed, len(mutants)


def main() -> int:
    """Parse the command line, run, and return the exit status: 0, or 1 under the threshold."""
    arguments = sys.argv[1:]
    command = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files", nargs="+", type=Path, help="modules under src/ to mutate, one after the other"
    )
    parser.add_argument("--min", type=float, default=85.0, help="percent that must be killed (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (%(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=0.0, help="seconds a mutant may run; default: by the tests"
    )
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    options = parser.parse_args(arguments[: len(arguments) - len(command) - ("--" in arguments)])
    if options.list:
        for path in options.files:
            for mutant in mutants_of(path):
                print(f"{path}:{mutant.line}: {mutant.before}  →  {mutant.after}")
        return 0
    if command[:1] != ["pytest"]:
        parser.error("the tests to run stand at the end: -- pytest tests/unit/...")
    preload()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        counts = [test_file(path, command[1:], options, Path(scratch)) for path in options.files]
    killed, total = (sum(column) for column in zip(*counts, strict=True))
    percent = 100 * killed / max(total, 1)
    enough = percent >= options.min
    verdict = "enough" if enough else "too few"
    print(f"{killed}/{total} killed: {percent:.1f} %, {verdict}: {options.min:g} % are asked for")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
