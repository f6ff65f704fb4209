"""Checks of where secrets come from: set, there, and closed to other users. Nothing is read, no command is run."""

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from trimtab.config import Config, Reference, all_references

from .finding import Finding


def secret_findings(config: Config) -> Iterator[Finding]:
    """Yield what is wrong with the variables, files and commands that secrets come from."""
    for name, variables in config.unset_variables(os.environ).items():
        said = f"provider {name} needs {', '.join(variables)}, not set in this shell"
        yield Finding.fail("provider key", said, f"export {variables[0]}=... before `trimtab up`")
    for name, sources in config.secret_sources().items():
        for source in dict.fromkeys(sources):
            yield from _file(name, Path(source.name)) if source.kind == "file" else _command(name, source)
    yield from _literals(config)


def _file(provider: str, path: Path) -> Iterator[Finding]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        said = f"provider {provider} needs {path}: {error.strerror}"
        yield Finding.fail("secret file", said, "put the secret there, or mend the path")
        return
    if not (stat.S_ISREG(mode) and os.access(path, os.R_OK)):
        said = f"provider {provider} needs {path}, which is no file that can be read"
        yield Finding.fail("secret file", said, f"as its owner: chmod u+r {path}")
    elif mode & stat.S_IROTH:
        yield Finding.warn(
            "secret file", f"{path} can be read by every user of this machine", f"chmod o= {path}"
        )


def _command(provider: str, source: Reference) -> Iterator[Finding]:
    try:
        words = shlex.split(source.name)
    except ValueError:
        words = []
    if not words or shutil.which(words[0]) is None:
        said = f"provider {provider} asks {words[0] if words else 'a command'}, which is no program here"
        yield Finding.fail("secret command", said, "install it, or name it by its path")


def _literals(config: Config) -> Iterator[Finding]:
    path = config.source
    if path is None or not path.stat().st_mode & stat.S_IROTH:
        return
    literal = [spec.name for spec in config.providers if spec.api_key and not all_references(spec.api_key)]
    if literal:
        said = f"{path} holds the key of provider {literal[0]}, and can be read by every user of this machine"
        yield Finding.warn("secret file", said, f"chmod o= {path}")
