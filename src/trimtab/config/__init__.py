"""One `trimtab.toml`: found, read, expanded, checked, resolved.

Owns the file's format, its settings with their defaults and descriptions, and `${NAME:-default}`, `${file:/path}`,
`${cmd:program ...}`.
Promises: every problem of a file is named at once, with key path, value, expectation and mend; unknown keys
are refused; no secret is shown; a provider's key, headers and proxy stay unexpanded until they are sent.
Never reads anything but the file, what it names and the environment it is given, and never changes either.
Entry: `load_config(find_file(...), env=os.environ)`.
"""

from .check import expectation, nearest
from .expand import Read, Reference, all_references, expand, references, shown_reference
from .load import FILE_NAME, OWN, Config, find_file, load_config
from .outbound import header_problems
from .reference import Setting, Table, reference_page, tables
from .schema import Console, Data, Document, Gateway, Own
from .sources import Sources
from .telemetry import SinkSpec, Telemetry
from .visible import HIDDEN, differences, flat, visible

__all__ = [
    "FILE_NAME",
    "HIDDEN",
    "OWN",
    "Config",
    "Console",
    "Data",
    "Document",
    "Gateway",
    "Own",
    "Read",
    "Reference",
    "Setting",
    "SinkSpec",
    "Sources",
    "Table",
    "Telemetry",
    "all_references",
    "differences",
    "expand",
    "expectation",
    "find_file",
    "flat",
    "header_problems",
    "load_config",
    "nearest",
    "reference_page",
    "references",
    "shown_reference",
    "tables",
    "visible",
]
