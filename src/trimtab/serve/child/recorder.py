"""The recorder process: moves calls from the append log into the store."""

from pathlib import Path

from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.serve.options import EXIT_OK, ChildOptions

from .life import LifeLine, stop_on_sigterm

_EMPTY_S = 50.0
"""How long the last emptying of the log may take; what is left is stored at the next start."""


def run_recorder(options: ChildOptions, line: LifeLine) -> int:
    """Record until SIGTERM, then empty the log; return the exit status."""
    from trimtab.ledger import Pause, Progress, Recorder
    from trimtab.storage.sqlite import open_call_store

    stop = stop_on_sigterm()
    layout = Layout(Path(options.data_dir))
    store = open_call_store(layout.calls)
    said = ""
    unplaced = 0

    def report(progress: Progress) -> None:
        nonlocal said, unplaced
        if progress.unplaced > unplaced:
            unplaced = progress.unplaced
            log.warning(
                "feedback left out, for no call has the response id that it names: %d so far", unplaced
            )
        if progress.error and progress.error != said:
            log.error("calls wait in the log, none is lost: %s", progress.error)
        elif said and not progress.error:
            log.info("calls are stored again")
        said = progress.error

    try:
        with Recorder(layout.log, store) as recorder:
            report(recorder.step())
            line.ready()
            pause = Pause()
            while not stop.is_set():
                progress = recorder.step()
                report(progress)
                stop.wait(pause.after(progress))
            report(recorder.drain(_EMPTY_S))
    finally:
        store.close()
    return EXIT_OK
