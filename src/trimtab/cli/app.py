"""The tree of commands. Each is imported only when it is called, so that small commands start fast."""

import sys

from cyclopts import App

from trimtab import __version__

from .terminal import is_terminal

_COMMANDS = (
    ("up", "trimtab.cli.up:up", "Start the gateway, the recorder and the console in the foreground."),
    ("init", "trimtab.cli.init:init", "Write a commented trimtab.toml and a data folder into a project."),
    ("call", "trimtab.cli.call:call", "Ask a model through the running gateway."),
    ("tail", "trimtab.cli.tail:tail", "Follow calls as they finish."),
    ("calls", "trimtab.cli.calls:app", "List, search and show recorded calls."),
    ("keys", "trimtab.cli.keys:app", "Create, list and revoke the keys that applications hold."),
    ("models", "trimtab.cli.models:app", "List what answers now; download the own model."),
    ("config", "trimtab.cli.config:app", "Check and show the configuration."),
    ("doctor", "trimtab.cli.doctor:doctor", "Look for what would keep Trimtab from running well here."),
    ("completion", "trimtab.cli.completion:completion", "Install completion for your shell."),
)


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
        help_formatter="default" if is_terminal(sys.stdout) else "plain",
    )
    for name, target, summary in _COMMANDS:
        app.command(target, name=name, help=summary)
    return app
