"""The console over made-up data, to be looked at: `python -m rigs.console_up` in tests/, or `serving()` in tests."""

import argparse
import contextlib
import threading
from collections.abc import Iterator

from rigs.fake_control import PASSWORDS, TOKEN, FakeControl
from rigs.sample_day import empty_control, full_control
from rigs.site import Site
from trimtab.console import make_console
from trimtab.testing import FrozenClock


def console_over(control: FakeControl):
    """Return the console's application, its clock standing at the data's time."""
    return make_console(
        control,
        bound_to_loopback=True,
        gateway_url="http://127.0.0.1:8400",
        clock=FrozenClock(control.now_us),
    )


@contextlib.contextmanager
def serving(control: FakeControl, port: int = 0) -> Iterator[str]:
    """Serve the console from a thread on loopback; yield its address."""
    with Site(console_over(control), port) as site:
        yield site.url


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8410)
    parser.add_argument("--empty", action="store_true", help="as after a first start")
    options = parser.parse_args()
    control = empty_control() if options.empty else full_control()
    with serving(control, options.port) as url:
        print(f"{url}/#token={TOKEN}   or one of {PASSWORDS}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
