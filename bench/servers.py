"""What stands around the process under test: the mock upstream, nginx as proxy or TLS terminator."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .loading import need, program
from .procfs import Cores, free_port, on_cores, tree

NGINX_HOW = "On Debian and Ubuntu, as root: apt install nginx-light"
OPENSSL_HOW = "On Debian and Ubuntu, as root: apt install openssl"


@contextmanager
def running(command: Sequence[object], cores: frozenset[int], log: Path, **options: object) -> Iterator[int]:
    """Run a server on some cores in a process group of its own; yield its pid; end the group after."""
    with on_cores(set(cores)), log.open("ab") as out:
        child = subprocess.Popen(
            [str(part) for part in command], stdout=out, stderr=out, start_new_session=True, **options
        )
    try:
        yield child.pid
    finally:
        stop(child)


def stop(child: subprocess.Popen[bytes]) -> None:
    """Ask a server to end, wait, then make sure of its whole group."""
    child.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def await_http(url: str, pid: int, log: Path, *, timeout_s: float = 60, data: bytes | None = None) -> None:
    """Wait until a URL answers 200.

    Raises:
        RuntimeError: it ended or did not answer in time; the text carries the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    seen = "nothing answered"
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists() or ended(pid):
            seen = "it ended"
            break
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
        request.add_header("Authorization", "Bearer sk-test-1234")
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                reply.read()
                return
        except urllib.error.HTTPError as error:
            seen = f"{error.code}: {error.read(300).decode(errors='replace')}"
        except OSError as error:
            seen = str(error)
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
    raise RuntimeError(f"{url} did not answer 200 within {timeout_s:.0f} s ({seen}). Its log ends:\n{tail}")


def ended(pid: int) -> bool:
    """Whether a process is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@dataclass(frozen=True, slots=True)
class Upstream:
    """The mock provider."""

    port: int

    def counts(self) -> tuple[int, int]:
        """Requests answered or begun, and stream events sent, since it started."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as reply:
            seen = json.load(reply)
        return seen["served"], seen["events"]


@contextmanager
def upstream(folder: Path, cores: Cores, *, gap_us: int = 0) -> Iterator[Upstream]:
    """Run the mock provider beside the load."""
    port = free_port()
    log = folder / "upstream.log"
    with running([program("upstream"), port, gap_us], cores.load, log) as pid:
        await_http(f"http://127.0.0.1:{port}/", pid, log)
        yield Upstream(port)


NGINX_CONF = """
daemon off; master_process on; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
{user}
events {{ worker_connections 8192; }}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_body_buffer_size 64k; keepalive_requests 1000000000; keepalive_timeout 600;
  log_format calls escape=json '{{"at":"$time_iso8601","status":$status,"ms":$request_time,'
    '"up":"$upstream_response_time","in":$request_length,"out":$bytes_sent,"agent":"$http_user_agent","body":"$request_body"}}';
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port}{ssl} backlog=4096;
    {certificate}
    access_log {access};
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering {buffering};
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running nginx: its port, and the pid of its one worker."""

    port: int
    worker: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a server certificate for 127.0.0.1, and of the CA that signed it."""

    ca: Path
    chain: Path
    key: Path


@contextmanager
def nginx(
    folder: Path, cores: frozenset[int], upstream_port: int, tls: Certificate | None = None
) -> Iterator[Proxy]:
    """Run nginx before the upstream: as a proxy with a JSON log of every body, or as a TLS terminator."""
    binary = need("nginx", NGINX_HOW)
    home = folder / ("terminator" if tls else "nginx")
    home.mkdir(exist_ok=True)
    port = free_port()
    conf = home / "nginx.conf"
    conf.write_text(
        NGINX_CONF.format(
            folder=home,
            user="user root;" if os.geteuid() == 0 else "",
            upstream=upstream_port,
            port=port,
            ssl=" ssl" if tls else "",
            certificate=f"ssl_certificate {tls.chain}; ssl_certificate_key {tls.key};" if tls else "",
            access="off" if tls else f"{home}/access.log calls buffer=64k flush=1s",
            buffering="off",
        )
    )
    log = home / "out.log"
    with running([binary, "-p", home, "-e", home / "error.log", "-c", conf], cores, log) as pid:
        scheme = "https" if tls else "http"
        if not tls:
            await_http(f"{scheme}://127.0.0.1:{port}/", pid, log)
        else:
            await_listening(port)
        yield Proxy(port, tree(pid)[1])


def await_listening(port: int, timeout_s: float = 20) -> None:
    """Wait until something accepts connections."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def make_certificate(folder: Path) -> Certificate:
    """Make a CA of our own and a certificate for loopback, valid for two days."""
    openssl = need("openssl", OPENSSL_HOW)
    made = Certificate(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    ca_key, request, names = folder / "ca.key", folder / "server.csr", folder / "names.cnf"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    ca = ["req", "-x509", *curve, "-days", "2", "-subj", "/CN=bench CA", "-keyout", ca_key, "-out", made.ca]
    ask = ["req", *curve, "-subj", "/CN=localhost", "-keyout", made.key, "-out", request]
    sign = ["x509", "-req", "-in", request, "-CA", made.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2"]
    sign += ["-extfile", names, "-out", made.chain]
    for arguments in (ca, ask, sign):
        subprocess.run([openssl, *map(str, arguments)], check=True, capture_output=True)
    return made
