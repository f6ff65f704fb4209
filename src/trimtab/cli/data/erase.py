"""`trimtab erase`: a user's or a session's calls, from everything in the data folder."""

from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from trimtab.cli.config import load
from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import admin
from trimtab.cli.terminal import CommandFailed, note, one_line, write, write_json
from trimtab.storage import Erasure


def erase(
    *,
    user: str = "",
    session: str = "",
    project: str = "",
    yes: Annotated[bool, Parameter(negative=())] = False,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Erase the calls of a user or a session from store, search index and log. It cannot be undone.

    Takes a second for every 100,000 calls of each day that is touched. Backups made before still hold the data; those
    that are known are named.

    Args:
        user: `user` of the requests.
        session: Session of the requests.
        project: Only in this project; else in all.
        yes: Do it; without this nothing is erased.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import find_running

    if not (user or session):
        raise CommandFailed(
            "say whose calls to erase", mend="--user NAME, --session NAME, or both", exit_code=2
        )
    if not yes:
        raise CommandFailed(
            "nothing was erased: this cannot be undone",
            mend="see what it would be with `trimtab calls`, then add --yes",
            exit_code=2,
        )
    what = Erasure(user=user, session=session, project=project)
    data_dir = load(place or Place()).data_dir
    found = find_running(data_dir)
    if found is not None:
        fields = {name: value for name, value in msgspec.structs.asdict(what).items() if value}
        erased: dict[str, Any] = admin(found, "POST", "calls/erase", body=fields, timeout_s=None)
    elif not data_dir.exists():
        raise CommandFailed(
            f"there is no data folder {str(data_dir)!r}", mend="name it with --data", exit_code=1
        )
    else:
        from trimtab.serve import erase_local

        erased = erase_local(data_dir, what)
    if json:
        write_json(erased)
        return 0
    write(f"{erased['calls']} calls erased, and {erased['log_records']} records of the log.")
    for backup in erased["backups"]:
        note(one_line(f"may hold them still: {backup}"), "yellow")
    return 0
