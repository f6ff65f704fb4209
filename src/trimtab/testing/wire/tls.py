"""Certificates for tests, made on the spot with the `openssl` command: none is committed, so none expires."""

import shutil
import ssl
import subprocess
from pathlib import Path

_EXTENSIONS = (
    "basicConstraints=critical,CA:FALSE\n"
    "subjectAltName=IP:127.0.0.1,DNS:localhost\n"
    "extendedKeyUsage=serverAuth\n"
)

_DAYS = "2"


def make_certificates(folder: Path) -> Path:
    """Make a certificate authority and, signed by it, a certificate for 127.0.0.1 and localhost.

    Writes `ca.pem`, `cert.pem` and `key.pem` (and working files) into the folder; takes some 50 ms.

    Returns:
        The path of `ca.pem`: what a client must trust.

    Raises:
        FileNotFoundError: there is no `openssl` command.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        raise FileNotFoundError(
            "there is no `openssl` command on the PATH; a fake server with TLS needs it to make certificates"
        )
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256")
    (folder / "extensions").write_text(_EXTENSIONS)
    commands = (
        ("req", "-x509", *key, "-days", _DAYS, "-subj", "/CN=trimtab test CA",
         "-keyout", "ca.key", "-out", "ca.pem"),
        ("req", "-new", *key, "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.csr"),
        ("x509", "-req", "-sha256", "-days", _DAYS, "-in", "cert.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
         "-CAcreateserial", "-extfile", "extensions", "-out", "cert.pem"),
    )  # fmt: skip
    for command in commands:
        made = subprocess.run(  # noqa: S603  (fixed arguments, no shell)
            [openssl, *command], cwd=folder, capture_output=True, check=False, text=True
        )
        if made.returncode:
            raise RuntimeError(f"`openssl {command[0]}` failed: {made.stderr.strip()}")
    return folder / "ca.pem"


def server_context(folder: Path) -> ssl.SSLContext:
    """Return a TLS server context with the certificate that `make_certificates` left in the folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
