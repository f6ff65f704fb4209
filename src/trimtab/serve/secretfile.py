"""`secret.key` in the data folder: the secret that seals providers' keys, made once and readable by its owner only."""

import base64
import binascii
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trimtab.access import SEAL_KEY_BYTES, Seal
from trimtab.types import ConfigError, ProviderSpec, StorageError


def load_seal(path: Path) -> Seal:
    """Return what opens keys that were sealed with the file's secret.

    Raises:
        ConfigError: others than its owner may read the file, it belongs to somebody else, or holds no secret.
        StorageError: it is not there, or cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be opened ({error.strerror}); bring it back from a backup, or enter the providers' "
            "keys again after the next start"
        ) from error
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise ConfigError(
                f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, so others may read it; close it with: "
                f"chmod 600 {path}, and change the providers' keys if somebody may have"
            )
        if status.st_uid != os.geteuid():
            raise ConfigError(f"{path} belongs to another user; give it to the one who runs Trimtab")
        text = file.read(1024)
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != SEAL_KEY_BYTES:
        raise ConfigError(
            f"{path} is damaged; bring it back from a backup, or remove it and enter the keys again"
        )
    return Seal(key)


def make_seal(path: Path) -> Seal:
    """Return the file's seal; make the file where there is none.

    Raises:
        ConfigError: as `load_seal`.
        StorageError: it cannot be read or made.
    """
    text = base64.b64encode(os.urandom(SEAL_KEY_BYTES)) + b"\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if not path.exists():
            with suppress(FileNotFoundError):
                draft.unlink()
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(fd)
            # A link, not a rename: a secret that is there already is never replaced.
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
    except OSError as error:
        raise StorageError(
            f"{path} cannot be made: {error.strerror}; mend the data folder's rights"
        ) from error
    return load_seal(path)


def unsealer(path: Path) -> Callable[[ProviderSpec], str]:
    """Return what opens sealed keys; the file is read when one is to be opened, and not before."""

    def unseal(spec: ProviderSpec) -> str:
        try:
            return load_seal(path).open(spec)
        except StorageError as error:
            raise ConfigError(f"the key of provider {spec.name!r} cannot be opened: {error}") from error

    return unseal
