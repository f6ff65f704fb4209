"""`trimtab erase`: a user's or a session's calls, everywhere."""

from typing import Annotated, Any

from cyclopts import Parameter

from .options import AsJson, Place
from .reach import admin, running
from .terminal import CommandFailed, note, one_line, write, write_json


def erase(
    *,
    user: str = "",
    session: str = "",
    project: str = "",
    yes: Annotated[bool, Parameter(negative=())] = False,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Erase the calls of a user or a session for good: from the store, the word index and the append log.

    Returns when no trace is left. Backups made before are named, and have to be deleted by you.

    Args:
        user: `user` of the requests.
        session: Session of the requests.
        project: Only in this project.
        yes: Do so; without it, nothing is erased.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    if not user and not session:
        raise CommandFailed("say whose calls: --user, --session or both", exit_code=2)
    if not yes:
        raise CommandFailed("this erases calls for good", mend="say --yes to do so", exit_code=2)
    body = {"user": user, "session": session, "project": project}
    erased: dict[str, Any] = admin(
        running(place or Place()), "POST", "calls/erase", body=body, timeout_s=None
    )
    if json:
        write_json(erased)
        return 0
    write(f"{erased['calls']} calls and {erased['log_records']} records of the append log are erased.")
    for backup in erased["backups"]:
        note(one_line(f"This may hold them still, delete it yourself: {backup}"), "yellow")
    return 0
