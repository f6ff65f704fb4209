"""Where the model process answers, whether it is wanted, and how far its start has come: three small files.

The model process writes, workers read; every write is an atomic rename, so a reader never sees half a file.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from trimtab.types.errors import StorageError

_ENDPOINT = "model.json"
_PROGRESS = "model.progress.json"
_WANT = "model.want"
_FORMAT = 1

ModelState = Literal["starting", "downloading", "loading", "failed"]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model process answers. The file holds a key, so it is readable by its owner only."""

    base_url: str
    """`http://127.0.0.1:PORT/v1`."""
    api_key: str
    """New at each start."""
    model: str
    """Name of the model served."""
    fingerprint: str
    """`own-` and a hash of weights, runtime and settings: on one machine, equal where answers at temperature 0 are."""
    pid: int = 0
    context_tokens: int = 0
    """Prompt and answer together, of one request."""
    system_prompt: str = ""
    """Put in front where a caller sends none; empty: nothing is put there."""
    tools: bool = False
    """Whether the model's own template knows tools."""
    runtime_fingerprint: str = ""
    """What the runtime writes as `system_fingerprint`, to be replaced by ours."""
    format: int = _FORMAT


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a start has come."""

    state: ModelState
    fraction: float | None = None
    """0 to 1 of a download; None where nobody can know."""
    reason: str = ""
    """Why it failed, and the mend."""

    def __str__(self) -> str:
        if self.state == "failed":
            return f"failed: {self.reason}"
        return self.state if self.fraction is None else f"{self.state} {self.fraction:.0%}"


_decode_endpoint = msgspec.json.Decoder(Endpoint).decode
_decode_progress = msgspec.json.Decoder(Progress).decode


def read_endpoint(run_dir: Path) -> Endpoint | None:
    """Return where the model process answers; None where none runs. One small read.

    The file of a process that was killed stays behind, so the process is looked for too.

    Raises:
        StorageError: the file is there, but is not ours to read.
    """
    try:
        found = _decode_endpoint((run_dir / _ENDPOINT).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            f"{run_dir / _ENDPOINT} cannot be read: {error.strerror}; mend its rights"
        ) from error
    except msgspec.DecodeError:
        return None  # another version's: its process is ending, ours will write anew
    known = found.format == _FORMAT and (found.pid == 0 or _alive(found.pid))
    return found if known else None


def write_endpoint(run_dir: Path, endpoint: Endpoint) -> None:
    """Publish where the model process answers, and end the progress file: nobody needs it now."""
    _write(run_dir / _ENDPOINT, msgspec.json.encode(endpoint))
    (run_dir / _PROGRESS).unlink(missing_ok=True)


def clear_endpoint(run_dir: Path) -> None:
    """Take the endpoint back: the process ends, or is another one's successor."""
    (run_dir / _ENDPOINT).unlink(missing_ok=True)


def write_progress(run_dir: Path, progress: Progress) -> None:
    """Publish how far the start has come."""
    _write(run_dir / _PROGRESS, msgspec.json.encode(progress))


def clear_progress(run_dir: Path) -> None:
    """Take the progress back: no start is under way."""
    (run_dir / _PROGRESS).unlink(missing_ok=True)


def read_progress(run_dir: Path) -> Progress | None:
    """Return how far a start has come; None where none is under way."""
    try:
        return _decode_progress((run_dir / _PROGRESS).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def want_model(run_dir: Path) -> None:
    """Ask the supervisor to start the model process; harmless when it runs."""
    with suppress(OSError):  # without a run folder there is no supervisor; the caller's wait says so
        (run_dir / _WANT).touch(mode=0o600)


def is_wanted(run_dir: Path) -> bool:
    """Return whether anybody has asked for the model process."""
    return (run_dir / _WANT).exists()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StorageError(
            f"{path} cannot be written: {error.strerror}; make room, or mend the folder's rights"
        ) from error
