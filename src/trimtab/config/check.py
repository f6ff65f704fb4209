"""Turn parsed TOML into a `Document`, naming everything that is wrong with it at once."""

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin

import msgspec
import msgspec.inspect as mi
from msgspec import Struct

from trimtab.types import ConfigError

from .expand import Read, expand, not_here, references
from .schema import SECRET_KEYS, Document


def read_document(
    raw: Mapping[str, Any], env: Mapping[str, str], source: str, read: Read = not_here
) -> Document:
    """Check and expand what a file holds. Secrets (`SECRET_KEYS`) stay as written.

    Raises:
        ConfigError: one message for all problems; each names key path, value, expectation and mend.
    """
    checker = _Checker(env, read)
    tree = checker.table(raw, Document, ())
    if checker.problems:
        raise ConfigError(problem_text(source, checker.problems))
    return msgspec.convert(tree, Document)


def problem_text(source: str, problems: list[str]) -> str:
    """Return the message for one or several problems of one file."""
    if len(problems) == 1:
        return f"{source}: {problems[0]}"
    return "\n  - ".join([f"{source}: {len(problems)} problems", *problems])


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?`, or what is known, to end a message about an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else "; there is none so far"


def expectation(hint: Any) -> str:  # noqa: ANN401 - any type annotation
    """Say in words which values a setting takes.

    >>> from typing import Annotated
    >>> expectation(Annotated[int, msgspec.Meta(ge=1, le=9)])
    'a whole number, at least 1, at most 9'
    """
    kind = mi.type_info(hint)
    while isinstance(kind, mi.Metadata):
        kind = kind.type
    return _words(kind)


def _words(kind: mi.Type) -> str:
    match kind:
        case mi.BoolType():
            return "true or false"
        case mi.IntType() | mi.FloatType():
            return ("a whole number" if isinstance(kind, mi.IntType) else "a number") + _bounds(kind)
        case mi.StrType():
            return "a text that is not empty" if kind.min_length else "a text"
        case mi.LiteralType():
            return " or ".join(f'"{v}"' for v in sorted(map(str, kind.values)))
        case mi.VarTupleType() if isinstance(kind.item_type, mi.StructType):
            return "a list of tables"
        case mi.VarTupleType():
            return "a list of texts"
        case mi.DictType() if isinstance(kind.value_type, mi.StrType):
            return "a table of texts"
    return "a table"


def _bounds(kind: mi.IntType | mi.FloatType) -> str:
    limits = ((kind.gt, "more than"), (kind.ge, "at least"), (kind.lt, "less than"), (kind.le, "at most"))
    return "".join(f", {words} {limit}" for limit, words in limits if limit is not None)


class _Checker:
    """Walks the tree; problems pile up in `problems`, and what is sound is returned expanded."""

    def __init__(self, env: Mapping[str, str], read: Read) -> None:
        self.env = env
        self.read = read
        self.problems: list[str] = []

    def table(self, raw: object, cls: type[Struct], path: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(raw, Mapping):
            self.problems.append(
                f"{_dotted(path)} = {raw!r}: expected a table; write its settings under [{_dotted(path)}]"
            )
            return {}
        fields = {f.name: f for f in msgspec.structs.fields(cls)}
        tree: dict[str, Any] = {}
        for key, value in raw.items():
            here = (*path, str(key))
            if key not in fields:
                self.problems.append(f"{_dotted(here)}: unknown key{nearest(str(key), fields)}")
            else:
                tree[key] = self.field(value, fields[key], here)
        for name, field in fields.items():
            if field.required and name not in raw:
                self.problems.append(f"{_dotted((*path, name))}: missing; it takes {expectation(field.type)}")
        return tree

    def field(self, raw: Any, field: msgspec.structs.FieldInfo, path: tuple[str, ...]) -> Any:  # noqa: ANN401
        shape, cls = shape_of(field.type)
        if cls is None:
            return self.leaf(raw, field, path)
        if shape == "table":
            return self.table(raw, cls, path)
        if shape == "tables":
            if isinstance(raw, Mapping):
                return {key: self.table(value, cls, (*path, str(key))) for key, value in raw.items()}
        elif isinstance(raw, list):
            if raw:
                return [self.table(value, cls, (*path, str(i))) for i, value in enumerate(raw)]
            return self.leaf(raw, field, path)
        self.problems.append(f"{_dotted(path)} = {raw!r}: expected {expectation(field.type)}")
        return None

    def leaf(self, raw: Any, field: msgspec.structs.FieldInfo, path: tuple[str, ...]) -> Any:  # noqa: ANN401
        secret = any(part in SECRET_KEYS for part in path)
        try:
            # Secrets are expanded by the process that sends them, so that no file of ours holds them.
            if path[-1] in SECRET_KEYS:
                value = raw
                for text in raw.values() if isinstance(raw, Mapping) else (raw,):
                    references(text if isinstance(text, str) else "")
            else:
                value = _expand_all(raw, self.env, self.read)
        except ConfigError as error:
            self.problems.append(f"{_dotted(path)}: {error.message}")
            return None
        try:
            # Text out of the environment has no type of its own: "8400" is a fine port there.
            msgspec.convert(value, field.type, strict=value == raw)
        except msgspec.ValidationError:
            shown = "(not shown)" if secret else repr(raw)
            self.problems.append(
                f"{_dotted(path)} = {shown}: expected {expectation(field.type)}"
                + (
                    ""
                    if field.required
                    else f"; mend it, or remove it for the default ({toml_text(field.default)})"
                )
            )
            return None
        return msgspec.to_builtins(msgspec.convert(value, field.type, strict=value == raw))


def shape_of(hint: Any) -> tuple[str, type[Struct] | None]:  # noqa: ANN401
    """Return how a field holds sections (`table`, `tables` by name, `list`) and which; None: a value."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        hint = next(a for a in args if a is not type(None))
        return shape_of(hint)
    if origin is dict and _is_struct(args[1]):
        return "tables", args[1]
    if origin is tuple and _is_struct(args[0]):
        return "list", args[0]
    return ("table", hint) if _is_struct(hint) else ("", None)


def _is_struct(hint: Any) -> bool:  # noqa: ANN401
    return isinstance(hint, type) and issubclass(hint, Struct)


def _expand_all(value: Any, env: Mapping[str, str], read: Read) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return expand(value, env, read)
    if isinstance(value, list):
        return [_expand_all(v, env, read) for v in value]
    if isinstance(value, Mapping):
        return {k: _expand_all(v, env, read) for k, v in value.items()}
    return value


def _dotted(path: tuple[str, ...]) -> str:
    bare = (p if p.replace("-", "").replace("_", "").isalnum() else f'"{p}"' for p in path)
    return ".".join(bare) or "the file"


def toml_text(value: Any) -> str:  # noqa: ANN401
    """Return a default as a file would write it; `empty` and `none` where it would not."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if value else "empty"
    if value in ((), {}, None, msgspec.NODEFAULT):
        return "none"
    return f"{value}"
