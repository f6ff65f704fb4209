"""What holds for every test: closed to the world, fixed seeds, nothing read from this machine's user."""

import ipaddress
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rigs.disk import run_as_root, small_file_system

settings.register_profile(
    "project", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", parent=settings.get_profile("project"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "project"))

FOREIGN = ("OPENAI_", "ANTHROPIC_", "LANGCHAIN_", "LANGSMITH_", "TRIMTAB_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def pytest_configure(config: pytest.Config) -> None:
    """Clean the environment once, before anything is imported; children inherit it."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name.upper() in PROXIES:
            del os.environ[name]
    # A data folder that a test forgot to name must not be the user's own.
    scratch = tempfile.TemporaryDirectory(prefix="trimtab-tests-")
    config.add_cleanup(scratch.cleanup)
    os.environ["XDG_DATA_HOME"] = str(Path(scratch.name) / "data")
    os.environ["XDG_CONFIG_HOME"] = str(Path(scratch.name) / "config")
    sys.addaudithook(refuse_the_world)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was skipped and why: a promise that nobody tried is none."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(f"SKIPPED {count}: {reason}", yellow=True, bold=True)


def refuse_the_world(event: str, arguments: tuple[object, ...]) -> None:
    """Let Python's sockets reach this machine only, and look up no names but its own."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not is_here(host):
        raise RuntimeError(f"a test wanted to reach {host!r}; tests stay on this machine ({event})")


def is_here(host: object) -> bool:
    """Whether a host is this machine, or no host at all."""
    if host is None or host in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        # RFC 6761: these names never resolve, which is what such a test wants to see.
        return str(host).endswith((".invalid", ".localhost"))
    return address.is_loopback or address.is_unspecified


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Let two runs draw the same numbers."""
    random.seed(20261101)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB of its own, on an empty folder."""
    if os.geteuid() != 0:
        yield tmp_path  # `pytest_pyfunc_call` runs the test where it may mount
        return
    with small_file_system(tmp_path / "disk", 24_000_000) as folder:
        yield folder


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that mount as root of a namespace of their own, where this user is not root."""
    return True if "small_disk" in pyfuncitem.fixturenames and run_as_root(pyfuncitem) else None
