"""`trimtab demo` and `trimtab restart`."""

from typing import Any

import msgspec
from cyclopts import App

from trimtab.types import SystemClock

from .config import load
from .options import AsJson, Place
from .reach import admin, running
from .terminal import CommandFailed, note, write, write_json

demo = App(name="demo", help="Fill a project of its own with made-up calls, or take it away.")

_PROJECT = "projects/demo"


def restart(place: Place | None = None, *, json: AsJson = False) -> int:
    """Replace the workers one after the other, without failing a call.

    The configuration is read again first. Changes in `[gateway]` that a reload cannot bring, and a newer Trimtab
    installed meanwhile, take effect in the new workers; address, port and number of workers need a new start.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done: dict[str, Any] = admin(running(place or Place()), "POST", "restart")
    if json:
        write_json(done)
    elif done["done"]:
        write(f"{done['replaced']} workers are replaced; the old ones finish their calls and end.")
    if done["error"]:
        raise CommandFailed(
            f"given up after {done['replaced']} workers: {done['error']}",
            mend="the workers that were there go on; `trimtab up`'s terminal says more",
            exit_code=1,
        )
    if not done["done"] and not json:
        note(f"{done['replaced']} workers are replaced so far; it goes on.")
    return 0


@demo.command
def fill(place: Place | None = None, *, json: AsJson = False) -> int:
    """Fill the project `demo` with a day of made-up calls. One of the last 24 hours is left as it is.

    Works while Trimtab runs and while it does not. No provider is asked, and the demo's keys let nobody in.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import Layout, find_running, open_local

    data_dir = load(place or Place()).data_dir
    found = find_running(data_dir)
    if found is not None:
        filled: dict[str, Any] = admin(found, "POST", "demo")
    else:
        from trimtab.serve.demo import fill_folder

        with open_local(data_dir) as local:
            done = fill_folder(Layout(data_dir).log, local.app, local.calls, SystemClock().now_us(), note)
        filled = msgspec.structs.asdict(done)
    if json:
        write_json(filled)
    elif filled["calls"]:
        write(f"{filled['calls']} made-up calls are in the project demo.")
    else:
        write("The demo is there already.")
    return 0


@demo.command
def remove(place: Place | None = None, *, json: AsJson = False) -> int:
    """Remove the project `demo` with its keys and calls, and nothing else.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import find_running, open_local

    data_dir = load(place or Place()).data_dir
    found = find_running(data_dir)
    if found is not None:
        there = any(project["name"] == "demo" for project in admin(found, "GET", "projects")["projects"])
        if there:
            admin(found, "DELETE", _PROJECT)
    elif data_dir.is_dir():
        from trimtab.serve.demo import remove_from

        with open_local(data_dir) as local:
            there = remove_from(local.app, local.calls) is not None
    else:
        there = False
    if json:
        write_json({"removed": there})
    else:
        write("The demo is removed." if there else "There is no demo.")
    return 0
