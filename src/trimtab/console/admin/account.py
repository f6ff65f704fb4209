"""One's own account: who one is, and the password. For everybody who signs in."""

from starlette.responses import Response

from trimtab.access import SHORTEST_PASSWORD
from trimtab.console.routes import Route
from trimtab.console.security import set_cookie
from trimtab.console.visit import Visit
from trimtab.types import ROLES, RateLimited

from .form import Form, form_page, new_password, once


async def show(visit: Visit) -> Response:
    """Return the page; whoever holds the installation's token is told that it has no password."""
    return await _page(visit, Form(visit, {}))


async def change_password(visit: Visit) -> Response:
    """Change the password; this browser goes on with the one sign-in that is left."""
    form = await Form.read(visit)
    current = form.secret("current", shortest=1)
    password = new_password(form)
    if form.ok:
        try:
            with form.blaming():
                token, _ = await visit.control.people.change_password(visit.actor, current, password)
                response = visit.redirect("/account", done="own_password_set")
                set_cookie(response, visit.request, "session", token, keep=False)
                return response
        except RateLimited:
            form.problems["current"] = visit.t("sign_in.too_often")
    return await _page(visit, form)


async def _page(visit: Visit, form: Form) -> Response:
    users = {user.name: user for user in await visit.control.people.users()}
    fields = {
        "title": visit.t("account.title"),
        "it": users.get(visit.actor.name),
        "may": [visit.t(f"user.{role}_may") for role in ROLES if visit.may(role)],
    }
    return await form_page(visit, "account.html", form, shortest=SHORTEST_PASSWORD, **fields)


ROUTES = (
    Route("GET", "/account", show),
    Route("POST", "/account/password", once(change_password)),
)
