"""The model process: the own model, asked by the workers over loopback."""

from pathlib import Path

from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.serve.options import EXIT_NO_RESTART, EXIT_OK, ChildOptions
from trimtab.types import OwnModelUnavailable

from .life import LifeLine, stop_on_sigterm


def run_model_child(options: ChildOptions, line: LifeLine) -> int:
    """Run the own model until SIGTERM; return the exit status."""
    from trimtab.providers.own import ModelOptions, run_model

    own = options.own
    model = ModelOptions(
        run_dir=Layout(Path(options.data_dir)).run,
        model_path=Path(own.model_path) if own.model_path else None,
        threads=own.threads,
        name=own.model,
        context_tokens=own.context,
    )
    try:
        run_model(model, stop_on_sigterm(), lambda _endpoint: line.ready())
    except OwnModelUnavailable as error:
        # Without its runtime, or offline, it would fail at once again: the supervisor tries later.
        log.error("the own model does not answer: %s", error)
        return EXIT_NO_RESTART
    return EXIT_OK
