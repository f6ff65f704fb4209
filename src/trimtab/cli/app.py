"""The tree of commands. Each is imported only when it is called, so that small commands start fast."""

import sys

from cyclopts import App, Parameter

from trimtab import __version__

from .terminal import is_terminal

_COMMANDS = {
    "up": "up:up",
    "init": "init:init",
    "call": "call:call",
    "tail": "tail:tail",
    "calls": "calls:app",
    "keys": "keys:app",
    "models": "models:app",
    "config": "config:app",
    "doctor": "doctor:doctor",
    "completion": "completion:completion",
}


def build_app() -> App:
    """Return the command tree; the commands themselves are not imported yet."""
    app = App(
        name="trimtab",
        help="Operate language models you do not own: one gateway, a durable log, and a model of your own.",
        version=__version__,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(show_default=_shown_default),
        help_formatter="default" if is_terminal(sys.stdout) else "plain",
    )
    for order, (name, target) in enumerate(_COMMANDS.items()):
        app.command(f"trimtab.cli.{target}", name=name, sort_key=order)
    return app


def _shown_default(value: object) -> str:
    """Return a default as help shows it; what means "none" is not worth a word."""
    return "" if value in ("", False, None) else str(value)
