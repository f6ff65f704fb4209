"""The tables of a day file, format 2. docs/reference/day-files.md says what each is for."""

from pathlib import Path

import apsw

from trimtab.storage.atomic import sync_file, sync_folder

from .connection import connect, create_file, storage_errors, transaction

DAY_FORMAT = 2
DAY_FORMATS = range(DAY_FORMAT, DAY_FORMAT + 1)
"""What this version reads and writes. Files of format 1 are converted first; see `earlier`."""

KNOWN_FORMATS = range(1, DAY_FORMAT + 1)
"""What it can convert, copy and look at."""

# What the columns of `calls` hold is said at the fields of types.Opened, types.Closed and types.Usage. Those without
# a type are numbers of `name`, or the text itself (`packed.Names`).
_CALLS = """
CREATE TABLE calls (
    place INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    doc INTEGER NOT NULL UNIQUE,
    state TEXT NOT NULL,
    opened_us INTEGER NOT NULL,
    project TEXT NOT NULL,
    purpose TEXT NOT NULL,
    kind TEXT NOT NULL,
    route NOT NULL,
    channel NOT NULL,
    opened_release NOT NULL,
    arm NOT NULL,
    model_asked NOT NULL,
    opened_model NOT NULL,
    params_hash NOT NULL,
    stream INTEGER NOT NULL,
    key NOT NULL,
    session TEXT NOT NULL,
    user TEXT NOT NULL,
    tags TEXT NOT NULL,
    client NOT NULL,
    trace_parent TEXT NOT NULL,
    parent_call TEXT NOT NULL,
    replay_of TEXT NOT NULL,
    payload_policy TEXT NOT NULL,
    prompt_name NOT NULL,
    prompt_version INTEGER NOT NULL,
    prompt_hash NOT NULL,
    prompt_label NOT NULL,
    opened_epoch NOT NULL,
    closed_us INTEGER,
    first_byte_us INTEGER,
    status INTEGER,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT,
    closed_model,
    model_served,
    provider NOT NULL DEFAULT '',
    provider_response_id TEXT,
    provider_request_id TEXT,
    fingerprint,
    finish_reason,
    attempts BLOB,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    audio_input_tokens INTEGER NOT NULL DEFAULT 0,
    audio_output_tokens INTEGER NOT NULL DEFAULT 0,
    estimated INTEGER NOT NULL DEFAULT 0,
    cost_nusd INTEGER NOT NULL DEFAULT 0,
    price_version,
    degraded INTEGER,
    cache_hit INTEGER,
    findings BLOB,
    closed_release,
    closed_epoch,
    usage_more BLOB,
    reported_cost_nusd INTEGER,
    model NOT NULL AS (coalesce(nullif(closed_model, ''), opened_model)) VIRTUAL,
    release NOT NULL AS (coalesce(nullif(closed_release, ''), opened_release)) VIRTUAL,
    epoch NOT NULL AS (coalesce(nullif(closed_epoch, ''), opened_epoch)) VIRTUAL
)
"""

_OTHERS = """
CREATE TABLE name (number INTEGER PRIMARY KEY AUTOINCREMENT, value TEXT NOT NULL UNIQUE);
CREATE TABLE payload (doc INTEGER PRIMARY KEY, codec INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE block (last INTEGER PRIMARY KEY, codec INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE zone (zone INTEGER PRIMARY KEY, bottom INTEGER NOT NULL, top INTEGER NOT NULL);
CREATE TABLE tag (name TEXT NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (name, place)) WITHOUT ROWID;
CREATE TABLE pending (doc INTEGER PRIMARY KEY, embeddings INTEGER NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(body, content='', contentless_delete=1, detail=none, tokenize='ascii');
CREATE TABLE feedback (
    id TEXT NOT NULL PRIMARY KEY,
    call_id BLOB NOT NULL,
    at_us INTEGER NOT NULL,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    score REAL,
    value TEXT NOT NULL,
    comment TEXT NOT NULL,
    correction TEXT NOT NULL,
    user TEXT NOT NULL,
    key TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX feedback_call ON feedback (call_id);
CREATE TABLE rollup (
    cube INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    k1 TEXT NOT NULL,
    k2 TEXT NOT NULL,
    k3 TEXT NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    unfinished INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    latency BLOB NOT NULL,
    PRIMARY KEY (cube, start_us, k1, k2, k3)
) WITHOUT ROWID;
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('displacement', 0), ('flushed', 0), ('docs', 0);
"""
# displacement: how far above its own place a call may stand. docs: the highest number of a call, ever.

INDEXED: dict[str, str] = {
    "session": "session <> ''",
    "user": "user <> ''",
    "key": "key <> ''",
    "error_code": "error_code <> ''",
    "state": "state <> 'ok'",
    "purpose": "purpose <> 'live'",
    "release": "release <> ''",
    "route": "route <> ''",
    "model": "model <> ''",
    "provider": "provider <> ''",
    "project": "project <> 'default'",
}
"""Columns with an index, the most telling first, and what an entry must fulfil: the usual value has none.

An index entry ends in the place, so each lists its calls in the order of time.
"""


LOOKUPS: dict[str, str] = {
    "calls_response": "(substr(provider_response_id, -8)) WHERE provider_response_id <> ''",
    "calls_in_session": "(project) WHERE session <> ''",
}
"""Further indexes: what `find_response` and `sessions` need.

Of a provider's response id the last eight characters tell calls apart as well as all forty, at a third of the
bytes. The calls that have a session stand in the order of time, project by project.
"""


def index_name(column: str) -> str:
    """Return the name of a column's index."""
    return f"calls_{column}"


def backup_of(path: Path) -> Path:
    """Return where a day file of format 1 stands after its conversion, until its day is dropped or changed."""
    return Path(f"{path}.bak-1")


def create_day_file(path: Path) -> None:
    """Make a day file with all its tables; it appears under its name only once it is whole.

    Raises:
        StorageError: the folder cannot be written.
    """
    unfinished = path.with_suffix(".new")
    with storage_errors(path):
        for leftover in (unfinished, Path(f"{unfinished}-wal"), Path(f"{unfinished}-shm")):
            leftover.unlink(missing_ok=True)
        create_file(unfinished)
        connection = connect(unfinished, formats=range(1), synchronous="OFF")
        try:
            with transaction(connection):
                _create_tables(connection)
        finally:
            connection.close()  # moves everything out of the write-ahead log
        sync_file(unfinished)
        unfinished.rename(path)
        sync_folder(path.parent)


def _create_tables(connection: apsw.Connection) -> None:
    connection.execute(_CALLS)
    connection.execute(_OTHERS)
    for column, condition in INDEXED.items():
        connection.execute(f"CREATE INDEX {index_name(column)} ON calls ({column}) WHERE {condition}")
    for name, definition in LOOKUPS.items():
        connection.execute(f"CREATE INDEX {name} ON calls {definition}")
    connection.pragma("user_version", DAY_FORMAT)
