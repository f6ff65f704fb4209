"""Checks of one installation: configuration, data folder, disk, ports, own model."""

import os
import shutil
import socket
import stat
from pathlib import Path
from urllib.parse import urlsplit

from trimtab.config import Config

from .finding import Finding
from .secrets import secret_findings

GIB = 1 << 30

DISK_WARN = 5 * GIB
DISK_FAIL = GIB // 2
"""A day of 100,000 calls with 4 KB each fills about half a GiB."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph"})
"""Where locks and shared memory of several processes cannot be relied on (sqlite.org/wal.html)."""


def setup_findings(config: Config) -> list[Finding]:
    """Return what the checks of one installation found. Binds the configured ports, if it is not running."""
    return [
        *_config(config),
        *_folder(config.data_dir),
        _disk(config.data_dir),
        *_ports(config),
        _own_model(config),
    ]


def _config(config: Config) -> list[Finding]:
    findings = [
        Finding.ok("config", str(config.source or "no file; the environment and the defaults decide"))
    ]
    return [*findings, *secret_findings(config)]


def _folder(folder: Path) -> list[Finding]:
    if not folder.exists():
        parent = _existing(folder)
        if os.access(parent, os.W_OK | os.X_OK):
            return [Finding.ok("data folder", f"{folder} will be made by `trimtab up`")]
        return [
            Finding.fail("data folder", f"{folder} cannot be made in {parent}", "choose another with --data")
        ]
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return [
            Finding.fail("data folder", f"{folder} cannot be read and written", "mend its rights, or --data")
        ]
    return [_open_to_others(folder), *_foreign_files(folder), *_file_system(folder)]


def _open_to_others(folder: Path) -> Finding:
    if folder.stat().st_mode & OTHERS:
        return Finding.warn("data folder", f"{folder} is open to other users", f"chmod 700 {folder}")
    loose = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & OTHERS]
    loose = [path for path in loose if path.name != ".gitignore"]
    if loose:
        return Finding.warn("data folder", f"{loose[0]} is open to other users", f"chmod -R go= {folder}")
    return Finding.ok("data folder", f"{folder}, closed to other users")


def _foreign_files(folder: Path) -> list[Finding]:
    owner = os.getuid()
    foreign = [path for path in (folder, *folder.iterdir()) if path.stat().st_uid != owner]
    if not foreign or owner == 0:
        return []
    return [
        Finding.fail(
            "data folder owner", f"{foreign[0]} is another user's", f"as root: chown -R {owner} {folder}"
        )
    ]


def _file_system(folder: Path) -> list[Finding]:
    kind = _file_system_of(folder)
    if kind not in NETWORK_FILE_SYSTEMS:
        return []
    return [Finding.fail("file system", f"{folder} is on {kind}: its locks fail", "use a local disk: --data")]


def _file_system_of(folder: Path) -> str:
    """Return the file system's type by `/proc/self/mounts`; empty where the system has no such file."""
    best, kind = -1, ""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        _device, mount, name, *_rest = line.split(" ")
        if folder.is_relative_to(mount) and len(mount) > best:
            best, kind = len(mount), name
    return kind


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free
    said = f"{free / GIB:.1f} GiB free for {folder}"
    if free < DISK_FAIL:
        return Finding.fail("disk", said, "free some space, or choose another disk with --data")
    if free < DISK_WARN:
        return Finding.warn("disk", said, "free some space: every call is stored")
    return Finding.ok("disk", said)


def _ports(config: Config) -> list[Finding]:
    from trimtab.serve import find_running

    running = find_running(config.data_dir)
    if running is None:
        return [
            _port("gateway port", config.gateway.host, config.gateway.port),
            _port("console port", config.console.host, config.console.port),
        ]
    # Options of `trimtab up` may have named other ports than the file does.
    return [
        Finding.ok(name, f"{urlsplit(url).netloc}, Trimtab is running")
        for name, url in (("gateway port", running.gateway), ("console port", running.url))
    ]


def _port(name: str, host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Ports in TIME_WAIT can be taken again, as the gateway does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            option = "--port" if name.startswith("gateway") else "--console-port"
            return Finding.fail(
                name, f"{host}:{port}: {error.strerror}", f"stop what holds it, or trimtab up {option} N"
            )
    return Finding.ok(name, f"{host}:{port} is free")


def _own_model(config: Config) -> Finding:
    own = config.own
    if not own.enabled:
        return Finding.ok("own model", "switched off")
    if own.url:
        return Finding.ok("own model", "served at own.url")
    if own.model_path:
        if Path(own.model_path).is_file():
            return Finding.ok("own model", own.model_path)
        return Finding.fail("own model", f"{own.model_path} is not there", "mend own.model_path")
    return _weights()


def _weights() -> Finding:
    from trimtab.providers.own import find_weights

    found = find_weights()
    if found is None:
        return Finding.warn("own model", "not downloaded yet; the first need does it", "trimtab models pull")
    return Finding.ok("own model", str(found.path))


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
