"""Each room says at its door what it is, and its `__all__` is what it gives."""

import ast
import importlib

import pytest

ROOM_DOCSTRING = range(4, 11)  # lines; the summary counts
SECTIONS = ("Entry",)
ERRORS = "trimtab.types.errors"
"""The one file with a face of its own: thirty error classes would drown the other words of `types`."""


def top_rooms(rooms, root):
    package = root / "src" / "trimtab"
    return [room for room in rooms if room.parent == package]


def test_a_room_opens_with_what_it_owns_and_how_to_enter(rooms, root):
    wrong = []
    for room in top_rooms(rooms, root):
        doc = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
        lines = [line for line in doc.splitlines() if line.strip()]
        if len(lines) not in ROOM_DOCSTRING or not any(word in doc for word in SECTIONS):
            wrong.append(f"{room.name}: {len(lines)} lines; 4 to 10 are expected, with a line `Entry: ...`")
    assert not wrong, "\n".join(wrong)


def test_sub_rooms_have_a_docstring(rooms):
    silent = [
        str(room) for room in rooms if not ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    ]
    assert not silent


def test_a_room_declares_what_it_gives_and_gives_it(rooms, root):
    wrong = []
    for room in top_rooms(rooms, root):
        module = importlib.import_module(f"trimtab.{room.name}")
        names = getattr(module, "__all__", None)
        if names is None:
            wrong.append(f"{room.name}: no __all__")
            continue
        wrong += [
            f"{room.name}: {name!r} is in __all__ and not there" for name in names if not has(module, name)
        ]
        if len(names) != len(set(names)):
            wrong.append(f"{room.name}: __all__ repeats itself")
    assert not wrong, "\n".join(wrong)


def test_what_a_room_imports_at_its_door_is_public(rooms, root):
    """A re-export that `__all__` does not name is a face that nobody promised."""
    wrong = []
    for room in top_rooms(rooms, root):
        tree = ast.parse((room / "__init__.py").read_text())
        given = set(importlib.import_module(f"trimtab.{room.name}").__all__)
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                names = {alias.asname or alias.name for alias in node.names}
                wrong += [
                    f"{room.name}: {name}" for name in sorted(names - given) if not name.startswith("_")
                ]
    assert not wrong, "re-exported, but not in __all__:\n" + "\n".join(wrong)


def test_rooms_import_rooms_not_their_files(modules, root):
    """`from trimtab.ledger import X`, never `from trimtab.ledger.frames import X` from another room."""
    wrong = []
    for module in modules:
        for node in ast.walk(module.tree):
            for target in imported(node):
                parts = target.split(".")
                deep = len(parts) > 2 and parts[0] == "trimtab" and parts[1] != module.room
                if deep and target != ERRORS and root.joinpath("src", *parts).with_suffix(".py").exists():
                    wrong.append(f"{module.at(node)} imports {target}")
    assert not wrong, "\n".join(wrong)


def imported(node) -> list[str]:
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def has(module, name) -> bool:
    try:
        getattr(module, name)
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize("name", ["__version__", "Client", "AsyncClient"])
def test_the_package_gives_what_it_says(name):
    package = importlib.import_module("trimtab")
    assert name in package.__all__
    assert getattr(package, name)
