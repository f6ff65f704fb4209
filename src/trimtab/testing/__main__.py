"""`python -m trimtab.testing`: run the fake server until interrupted."""

import argparse
import sys
import threading

from .faults import FAULTS
from .server import FakeServer
from .wire.plan import Scale


def main(argv: list[str] | None = None) -> int:
    """Run the fake server in the foreground; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trimtab.testing", description="Run an OpenAI-compatible fake provider on 127.0.0.1."
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument(
        "--fault", choices=sorted(FAULTS), default="", metavar="NAME", help="misbehave; see --faults"
    )
    parser.add_argument("--stall-s", type=float, default=Scale().stall_s, help="seconds that a stall lasts")
    parser.add_argument("--tls", action="store_true", help="serve https with a certificate made on the spot")
    parser.add_argument("--faults", action="store_true", help="list the faults and exit")
    options = parser.parse_args(argv)
    if options.faults:
        for fault in FAULTS.values():
            sys.stdout.write(f"{fault.name:26}{fault.what}\n")
        return 0
    scale = Scale(stall_s=options.stall_s)
    try:
        with FakeServer(port=options.port, fault=options.fault, tls=options.tls, scale=scale) as server:
            sys.stdout.write(f"{server.base_url}\n")
            if server.ca_file:
                sys.stdout.write(f"trust {server.ca_file}\n")
            sys.stdout.flush()
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except OSError as e:
        sys.stderr.write(f"cannot serve on 127.0.0.1:{options.port}: {e}; choose another --port\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
