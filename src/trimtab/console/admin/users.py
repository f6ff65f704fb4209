"""Users: list, add, role, password, disable, remove. For admins alone."""

from starlette.responses import Response

from trimtab.access import SHORTEST_PASSWORD
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.types import ROLES, User

from .form import Form, form_page, new_password, once


async def show(visit: Visit) -> Response:
    """Return the list, by name."""
    users = sorted(await visit.control.people.users(), key=lambda user: user.name.lower())
    return await visit.page("users.html", title=visit.t("nav.users"), rows=users)


async def ask(visit: Visit) -> Response:
    """Return the form for a new user."""
    return await _new(visit, Form(visit, {}, {"role": "viewer"}))


async def add(visit: Visit) -> Response:
    """Add a user."""
    form = await Form.read(visit)
    name = form.name("name")
    role = form.choice("role", ROLES)
    password = new_password(form)
    if form.ok:
        with form.blaming():
            await visit.control.people.add_user(visit.actor, name, role, password)
            return visit.redirect("/users", done="user_added")
    return await _new(visit, form)


async def open_one(visit: Visit) -> Response:
    """Return one user with the forms that change it."""
    return await _page(visit, await _user(visit))


async def change_role(visit: Visit) -> Response:
    """Give a user another role."""
    user = await _user(visit)
    form = await Form.read(visit)
    role = form.choice("role", ROLES)
    if form.ok:
        with form.blaming():
            await visit.control.people.change_user(visit.actor, user.name, role=role)
            return _saved(visit, user, "saved")
    return await _page(visit, user, form)


async def reset_password(visit: Visit) -> Response:
    """Give a user another password, which ends the user's sign-ins."""
    user = await _user(visit)
    form = await Form.read(visit)
    password = new_password(form)
    if form.ok:
        with form.blaming():
            await visit.control.people.change_user(visit.actor, user.name, password=password)
            return _saved(visit, user, "password_set")
    return await _page(visit, user, form)


async def switch(visit: Visit) -> Response:
    """Disable a user, or let it in again."""
    user = await _user(visit)
    form = await Form.read(visit)
    disabled = form.choice("disabled", ("yes", "no")) == "yes"
    if form.ok:
        with form.blaming():
            await visit.control.people.change_user(visit.actor, user.name, disabled=disabled)
            return _saved(visit, user, "user_disabled" if disabled else "user_enabled")
    return await _page(visit, user, form)


async def remove(visit: Visit) -> Response:
    """Remove a user, once the name was typed."""
    user = await _user(visit)
    form = await Form.read(visit)
    form.typed("typed_name", user.name)
    if form.ok:
        with form.blaming():
            await visit.control.people.remove_user(visit.actor, user.name)
            return visit.redirect("/users", done="user_removed")
    return await _page(visit, user, form)


def _saved(visit: Visit, user: User, done: str) -> Response:
    return visit.redirect(f"/users/{user.name}", done=done)


async def _user(visit: Visit) -> User:
    return visit.named(await visit.control.people.users(), "user")


async def _new(visit: Visit, form: Form) -> Response:
    fields = {"title": visit.t("user.new"), "roles": ROLES, "shortest": SHORTEST_PASSWORD}
    return await form_page(visit, "user_new.html", form, **fields)


async def _page(visit: Visit, user: User, sent: Form | None = None) -> Response:
    form = sent or Form(visit, {})
    form.values.setdefault("role", user.role)
    fields = {"title": user.name, "it": user, "roles": ROLES, "shortest": SHORTEST_PASSWORD}
    return await form_page(visit, "user.html", form, **fields)


ROUTES = (
    Route("GET", "/users", show, "admin"),
    Route("GET", "/users/-/new", ask, "admin"),
    Route("POST", "/users/-/new", once(add), "admin"),
    Route("GET", "/users/{name}", open_one, "admin"),
    Route("POST", "/users/{name}/role", once(change_role), "admin"),
    Route("POST", "/users/{name}/password", once(reset_password), "admin"),
    Route("POST", "/users/{name}/disabled", once(switch), "admin"),
    Route("POST", "/users/{name}/remove", once(remove), "admin"),
)
