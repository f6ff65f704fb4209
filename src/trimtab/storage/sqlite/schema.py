"""The tables of a day file, format 1."""

from pathlib import Path

import apsw

from trimtab.storage.atomic import sync_file, sync_folder

from .connection import connect, create_file, storage_errors, transaction

DAY_FORMAT = 1
DAY_FORMATS = range(DAY_FORMAT, DAY_FORMAT + 1)
"""What this version reads and writes."""

# What the columns of `calls` hold is said at the fields of types.Opened, types.Closed and types.Usage.
_CALLS = """
CREATE TABLE calls (
    place INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL,
    opened_us INTEGER NOT NULL,
    project TEXT NOT NULL,
    purpose TEXT NOT NULL,
    kind TEXT NOT NULL,
    route TEXT NOT NULL,
    channel TEXT NOT NULL,
    opened_release TEXT NOT NULL,
    arm TEXT NOT NULL,
    model_asked TEXT NOT NULL,
    opened_model TEXT NOT NULL,
    params_hash TEXT NOT NULL,
    stream INTEGER NOT NULL,
    key TEXT NOT NULL,
    session TEXT NOT NULL,
    user TEXT NOT NULL,
    tags TEXT NOT NULL,
    client TEXT NOT NULL,
    trace_parent TEXT NOT NULL,
    parent_call TEXT NOT NULL,
    replay_of TEXT NOT NULL,
    payload_policy TEXT NOT NULL,
    prompt_name TEXT NOT NULL,
    prompt_version INTEGER NOT NULL,
    prompt_hash TEXT NOT NULL,
    prompt_label TEXT NOT NULL,
    opened_epoch TEXT NOT NULL,
    closed_us INTEGER,
    first_byte_us INTEGER,
    status INTEGER,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT,
    closed_model TEXT,
    model_served TEXT,
    provider TEXT NOT NULL DEFAULT '',
    provider_response_id TEXT,
    provider_request_id TEXT,
    fingerprint TEXT,
    finish_reason TEXT,
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
    price_version TEXT,
    degraded INTEGER,
    cache_hit INTEGER,
    findings BLOB,
    closed_release TEXT,
    closed_epoch TEXT,
    usage_more BLOB,
    reported_cost_nusd INTEGER,
    model TEXT NOT NULL AS (coalesce(nullif(closed_model, ''), opened_model)) VIRTUAL,
    release TEXT NOT NULL AS (coalesce(nullif(closed_release, ''), opened_release)) VIRTUAL,
    epoch TEXT NOT NULL AS (coalesce(nullif(closed_epoch, ''), opened_epoch)) VIRTUAL
)
"""

_OTHERS = """
CREATE TABLE payload (place INTEGER PRIMARY KEY, codec INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE tag (name TEXT NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (name, place)) WITHOUT ROWID;
CREATE TABLE pending (place INTEGER PRIMARY KEY, embeddings INTEGER NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(body, content='', contentless_delete=1, tokenize='ascii');
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
INSERT INTO meta VALUES ('displacement', 0), ('flushed', 0), ('complete', 1), ('clean', 1);
"""
# complete: all indexes of LOOKUPS are there, and all cubes are kept. clean: whatever was deleted, by whichever
# version, was overwritten (secure_delete). Files of 0.1 have neither; `upkeep` brings them there.

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
    create_lookups(connection)
    connection.pragma("user_version", DAY_FORMAT)


def create_lookups(connection: apsw.Connection) -> None:
    """Make the indexes of `LOOKUPS` that are not there yet; reads all calls, a second a million."""
    for name, definition in LOOKUPS.items():
        connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON calls {definition}")
