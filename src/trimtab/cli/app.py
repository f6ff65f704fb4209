"""The tree of commands. Each is imported only when it is called, so that small commands start fast."""

import re

from cyclopts import App, Parameter

from trimtab import __version__

from .terminal import stdout_is_terminal

_COMMANDS = {
    "up": "up:up",
    "init": "init:init",
    "call": "call:call",
    "tail": "tail:tail",
    "calls": "calls:app",
    "trace": "trace:trace",
    "keys": "admin.keys:app",
    "projects": "admin.projects:app",
    "providers": "admin.providers:app",
    "limits": "admin.limits:app",
    "budgets": "admin.budgets:app",
    "users": "admin.users:app",
    "settings": "admin.settings:app",
    "alerts": "admin.alerts:app",
    "audit": "admin.audit:audit",
    "models": "models:app",
    "prices": "money.prices:app",
    "bill": "money.bill:app",
    "config": "config:app",
    "erase": "data.erase:erase",
    "export": "data.transfer:export",
    "import": "data.transfer:import_calls",
    "backup": "data.backup:backup",
    "restore": "data.backup:restore",
    "migrate": "data.backup:migrate",
    "restart": "upkeep:restart",
    "demo": "upkeep:demo",
    "doctor": "doctor:doctor",
    "completion": "completion:completion",
}


def build_app(*, whole: bool = False) -> App:
    """Return the command tree.

    Args:
        whole: import every command, for pages that show what each one says of itself.
    """
    app = App(
        name="trimtab",
        help="Operate language models you do not own: one gateway, a durable log, and a model of your own.",
        version=__version__,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(show_default=False),
        help_formatter="default" if stdout_is_terminal() else "plain",
    )
    for order, (name, target) in enumerate(_COMMANDS.items()):
        app.command(f"trimtab.cli.{target}", name=name, sort_key=order)
        if whole:
            app[name].sort_key = order
    return app


def reference_page() -> str:
    """Return docs/reference/cli.md: a test holds the file to it."""
    from cyclopts.docs.markdown import generate_markdown_docs

    page = generate_markdown_docs(
        build_app(whole=True), generate_toc=False, no_root_title=True, heading_level=2
    )
    # Commands of a group have no parent to ask for the program's name, and take this process's instead.
    page = re.sub(r"^(trimtab [a-z -]+?) -m [\w.]+", r"\1", page, flags=re.MULTILINE)
    return f"{_HEAD}\n{page.replace('```console', '```text').strip()}\n"


_HEAD = """\
# Command line

<!-- Made by `python -m trimtab.cli.app` from the commands: change it there. -->

Results go to stdout, everything else to stderr. A terminal gets tables, a pipe gets aligned text, and
`--json` gives JSON whose fields stay the same, `[]` where there is nothing. A command that fails says so on
stderr, and with `--json` on stdout too: `{"error": {"code": ..., "message": ..., "mend": ...}}`. `NO_COLOR` is
honoured. Where text of a model or a caller is shown, control characters are shown as symbols and not obeyed.

| exit code | means |
|---|---|
| 0 | done |
| 1 | a check failed, or the thing asked for is not there |
| 2 | wrong usage, or a configuration that cannot be used |
| 3 | could not find out: nothing runs, a provider failed, a file cannot be read |
| 130 | interrupted |

Commands find their installation like `trimtab up` does: `--config`, else the nearest `trimtab.toml` at or
above the working folder, else the defaults; `--data` overrides the data folder. `calls` also works where
nothing runs.
"""

if __name__ == "__main__":
    print(reference_page(), end="")
