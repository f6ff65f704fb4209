"""Fills the demo of a data folder, on behalf of `trimtab up --demo`, whose lock on it this process inherits."""

import sys
from pathlib import Path

from trimtab.serve.folder import Layout
from trimtab.serve.local import open_stores
from trimtab.serve.log import log, set_up_log
from trimtab.types import SystemClock, TrimtabError

from .fill import fill_folder


def main(data_dir: str) -> int:
    """Fill; return the exit status."""
    set_up_log("trimtab")
    layout = Layout(Path(data_dir))
    try:
        with open_stores(layout) as local:
            fill_folder(
                layout.log, local.app, local.calls, SystemClock().now_us(), lambda text: log.info("%s", text)
            )
    except TrimtabError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
