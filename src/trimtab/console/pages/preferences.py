"""What a visitor chooses for themselves: language, light or dark."""

from starlette.responses import RedirectResponse, Response

from trimtab.console.routes import Route
from trimtab.console.security import local_path, set_cookie
from trimtab.console.visit import THEMES, Visit
from trimtab.console.words import LANGUAGES
from trimtab.types import CallerError

_CHOICES = {"language": LANGUAGES, "theme": THEMES}


async def choose(visit: Visit) -> Response:
    """Keep a choice in a cookie and go back to where the visitor was."""
    fields = await visit.form()
    response = RedirectResponse(local_path(fields.get("back", "/")), status_code=303)
    for name, choices in _CHOICES.items():
        chosen = fields.get(name)
        if chosen is None:
            continue
        if chosen not in choices:
            raise CallerError(f"{name} {chosen[:40]!r} must be one of {', '.join(choices)}", param=name)
        set_cookie(response, visit.request, name, chosen, keep=True)
    return response


ROUTES = (Route("POST", "/preferences", choose, "anyone"),)
