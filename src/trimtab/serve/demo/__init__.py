"""The demo: a day of believable traffic in a project of its own, `demo`, so that every page has something to show.

Owns the project `demo`, its keys and its calls; what stands in `data/apps.json` is all they say.
Promises: the same day and seed make the same calls; nothing but that project is touched; no key of it lets anybody in.
Never asks a provider: answers come from `trimtab.testing`'s fake one.
Entry: `fill_folder` where nothing runs, `fill_log` where a recorder does; `remove_from` takes it all away.
"""

from .fill import DEMO, Filled, add_project, demo_is_fresh, fill_folder, fill_log, remove_from

__all__ = ["DEMO", "Filled", "add_project", "demo_is_fresh", "fill_folder", "fill_log", "remove_from"]
