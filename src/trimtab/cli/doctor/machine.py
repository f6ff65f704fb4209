"""Checks of the machine: interpreter, wheels, system libraries, clock, limits."""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import platform
import re
import sys
import time

from .finding import Finding

WAL_FIX = (3, 51, 3)
"""SQLite before this can corrupt a WAL database that several processes use: the "WAL-reset bug" of
sqlite.org/wal.html."""

WHEELS = (
    ("httptools", "httptools"),
    ("uvloop", "uvloop"),
    ("msgspec", "msgspec"),
    ("apsw", "apsw"),
    ("zstandard", "zstandard"),
    ("starlette", "starlette.applications"),
)
"""Distribution, and the module whose import shows that its compiled part loads on this machine."""

BUILT_US = 1_790_000_000_000_000
"""September 2026, when this code was written: a clock before that is wrong."""

OPEN_FILES_WANTED = 4096
"""A worker holds two sockets a running call, plus idle connections."""


def machine_findings() -> list[Finding]:
    """Return what the machine's checks found. Loads the compiled wheels."""
    return [_platform(), *_wheels(), _sqlite(), _own_runtime(), _libgomp(), _clock(), _open_files()]


def _platform() -> Finding:
    said = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.platform == "win32":
        return Finding.fail("platform", said, "use Linux or macOS; on Windows, WSL")
    if sys.platform != "linux":
        return Finding.warn("platform", said, "only Linux has been tested; macOS should work, please report")
    return Finding.ok("platform", said)


def _wheels() -> list[Finding]:
    broken = []
    versions = []
    wanted = _pins()
    for name, module in WHEELS:
        try:
            version = importlib.metadata.version(name)
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            mend = f"pip install --force-reinstall '{name}{wanted.get(name, '')}'"
            broken.append(Finding.fail(f"wheel {name}", f"does not load: {error}", mend))
            continue
        versions.append(f"{name} {version}")
        pin = wanted.get(name, "")
        if pin.startswith("==") and pin != f"=={version}":
            broken.append(
                Finding.warn(
                    f"wheel {name}", f"{version}, tested with {pin[2:]}", f"pip install '{name}{pin}'"
                )
            )
    return [Finding.ok("wheels", ", ".join(versions)), *broken]


def _pins() -> dict[str, str]:
    """Return distribution → version part of our own requirements, such as `==2.8.7`."""
    pins = {}
    for line in importlib.metadata.requires("trimtab") or []:
        match = re.match(r"([A-Za-z0-9._-]+)\s*([<>=!~][^;\s]*)?", line)
        if match:
            pins[match[1].lower()] = match[2] or ""
    return pins


def _sqlite() -> Finding:
    try:
        import apsw
    except (ImportError, OSError):
        return Finding.fail("sqlite", "apsw does not load", "see the line about its wheel")
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) < WAL_FIX:
        wanted = ".".join(map(str, WAL_FIX))
        return Finding.fail(
            "sqlite", f"{version}, which can corrupt a log that several processes use", f"apsw with {wanted}+"
        )
    return Finding.ok("sqlite", f"{version}, bundled with apsw")


def _own_runtime() -> Finding:
    if importlib.util.find_spec("xllamacpp") is None:
        return Finding.warn(
            "own model runtime",
            "not installed; calls to own/... need it (or own.url)",
            "pip install 'trimtab[local]'",
        )
    return Finding.ok("own model runtime", f"xllamacpp {importlib.metadata.version('xllamacpp')}")


def _libgomp() -> Finding:
    if sys.platform != "linux":
        return Finding.ok("libgomp", "not needed on this platform")
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError as error:
        mend = "as root: apt-get install libgomp1 (Debian, Ubuntu) or dnf install libgomp (Fedora)"
        if importlib.util.find_spec("xllamacpp") is None:
            return Finding.warn("libgomp", f"{error}; the own model's runtime needs it", mend)
        return Finding.fail("libgomp", f"{error}; the own model's runtime needs it", mend)
    return Finding.ok("libgomp", "libgomp.so.1 loads")


def _clock() -> Finding:
    now_us = time.time_ns() // 1000
    said = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    if now_us < BUILT_US:
        return Finding.fail("clock", f"{said} is before Trimtab was made", "set the clock, best by NTP")
    return Finding.ok("clock", said)


def _open_files() -> Finding:
    if sys.platform == "win32":
        return Finding.ok("open files", "not limited here")
    import resource

    # `trimtab up` raises the soft limit itself, as far as the hard one.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= OPEN_FILES_WANTED:
        return Finding.ok(
            "open files", "unlimited" if hard == resource.RLIM_INFINITY else f"{hard} a process"
        )
    return Finding.warn(
        "open files",
        f"at most {hard} a process; a busy gateway needs more",
        f"as root: raise the hard limit (nofile) to {OPEN_FILES_WANTED} or more, see man limits.conf",
    )
