"""Converts the day files of a data folder, on behalf of `trimtab up`, whose lock on it this process inherits."""

import sys
from pathlib import Path

from trimtab.serve.folder import Layout
from trimtab.serve.log import log, set_up_log
from trimtab.types import TrimtabError

_STEPS = 10
"""Times that one file's progress is told."""


def main(data_dir: str) -> int:
    """Convert; return the exit status."""
    from trimtab.storage.sqlite import convert_days

    set_up_log("trimtab")
    said = -1

    def told(name: str, done: int, total: int) -> None:
        nonlocal said
        step = _STEPS * done // max(total, 1)
        if step != said:
            said = step
            log.info("converting %s to the present format: %d of %d calls", name, done, total)

    try:
        convert_days(Layout(Path(data_dir)).calls, told)
    except TrimtabError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
