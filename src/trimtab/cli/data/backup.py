"""`trimtab backup`, `restore` and `migrate`: the data folder as a whole."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from trimtab.cli.config import load
from trimtab.cli.options import AsJson, Place
from trimtab.cli.terminal import (
    Cell,
    Column,
    CommandFailed,
    note,
    one_line,
    progress_note,
    write,
    write_json,
    write_table,
)
from trimtab.types import CallerError


def backup(
    folder: Path,
    /,
    *,
    with_secret: Annotated[bool, Parameter(negative=())] = False,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Copy the whole data folder into a new folder, while Trimtab runs on it or not.

    All that was recorded when the backup began is in it. `trimtab restore` makes a data folder of it again.

    Args:
        folder: The new folder; best on another disk.
        with_secret: Copy `secret.key` too. It opens the providers' keys that were entered in the console, so who has
            such a backup has the keys.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import Layout, back_up

    data_dir = _data_dir(place)
    if not data_dir.is_dir():
        raise CommandFailed(
            f"there is no data folder {str(data_dir)!r}", mend="name it with --data", exit_code=1
        )
    try:
        done = back_up(Layout(data_dir), folder, with_secret=with_secret)
    except CallerError as error:
        raise CommandFailed(error.message, exit_code=2) from error
    if json:
        write_json(msgspec.structs.asdict(done))
    else:
        write(one_line(f"{done.path}: {done.files} files, {done.bytes / 1e6:.1f} MB"))
        note("Calls that are erased from now on stay in this backup until you delete it.", "dim")
    return 0


def restore(folder: Path, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Make the data folder from a backup. It must be missing or empty; every file is checked first.

    Args:
        folder: The backup.
        place: Which installation; its data folder is the one that is made.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import restore

    try:
        done = restore(folder, _data_dir(place))
    except CallerError as error:
        raise CommandFailed(error.message, exit_code=2) from error
    if json:
        write_json(msgspec.structs.asdict(done))
    else:
        write(one_line(f"{done.path}: {done.files} files, {done.bytes / 1e6:.1f} MB"))
    return 0


def migrate(
    place: Place | None = None,
    *,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    json: AsJson = False,
) -> int:
    """Bring the files of the data folder to this version's formats. `trimtab up` does so by itself.

    Args:
        place: Which installation; nothing may run on it, but for --dry-run.
        dry_run: Only say which files would change, and of which a copy would be made first.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import Layout, migrate, migration_steps

    layout = Layout(_data_dir(place))
    if dry_run:
        steps = migration_steps(layout)
    else:
        with _told() as told:
            steps = migrate(layout, told)
    if json:
        write_json([{"file": str(step.path), "what": step.what, "backup": step.backed_up} for step in steps])
        return 0
    if not steps:
        note("Every file is of this version's format.")
        return 0
    rows: list[list[Cell | str]] = [
        [one_line(step.path.name), one_line(step.what), "copied first" if step.backed_up else "-"]
        for step in steps
    ]
    write_table([Column(title="file"), Column(title="what", fluid=True), Column(title="backup")], rows)
    note("Nothing was changed." if dry_run else "Done.")
    return 0


@contextmanager
def _told() -> Iterator[Callable[[str, int, int], None]]:
    """Give what shows how far each file is: a bar of its own."""
    with ExitStack() as bars:
        shown: dict[str, Callable[[int, int], None]] = {}

        def told(name: str, done: int, total: int) -> None:
            if name not in shown:
                bars.close()
                shown[name] = bars.enter_context(progress_note(one_line(f"converting {name}"), unit="calls"))
            shown[name](done, total)

        yield told


def _data_dir(place: Place | None) -> Path:
    return load(place or Place()).data_dir.absolute()
