"""The console: pages for people, served by the control process beside the admin API.

Owns the pages, their words in every language, their look, and who may open which of them.
Promises: whatever a model or a caller wrote is escaped, or rendered from an allow-list; no page runs a script of
another origin or an inline one; a role is checked before a page's code runs; nothing is fetched from elsewhere.
Never opens a store, starts a process or holds a secret: it asks the `Control` port.
Entry: `make_console(control, bound_to_loopback=...)`.
"""

from .app import make_console

__all__ = ["make_console"]
