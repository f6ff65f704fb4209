"""Signing in and out."""

from starlette.responses import RedirectResponse, Response

from trimtab.console.routes import Route
from trimtab.console.security import drop_cookie, local_path, set_cookie
from trimtab.console.visit import Visit
from trimtab.types import RateLimited, Unauthenticated


async def show(visit: Visit) -> Response:
    """Return the sign-in page; who is signed in already goes on."""
    target = local_path(visit.query.get("next", "/"))
    if visit.signed_in is not None:
        return RedirectResponse(target, status_code=303)
    return _form(visit, target)


async def sign_in(visit: Visit) -> Response:
    """Open a sign-in by token, or by name and password; a token that was there before ends."""
    fields = await visit.form()
    target = local_path(fields.get("next", "/"))
    people = visit.control.people
    client = visit.request.client
    address = client.host if client else ""
    try:
        if fields.get("token"):
            token, _actor = await people.sign_in_with_token(fields["token"].strip(), address)
        else:
            token, _actor = await people.sign_in(
                fields.get("name", "").strip(), fields.get("password", ""), address
            )
    except Unauthenticated as error:
        by = "token" if fields.get("token") else "password"
        return _form(visit, target, error.status, visit.t(f"sign_in.wrong_{by}"), fields.get("name", ""))
    except RateLimited as error:
        return _form(visit, target, error.status, visit.t("sign_in.too_often"), fields.get("name", ""))
    if visit.signed_in is not None:
        await people.sign_out(visit.bearer)
    response = RedirectResponse(target, status_code=303)
    set_cookie(response, visit.request, "session", token, keep=False)
    drop_cookie(response, visit.request, "visit")
    return response


async def sign_out(visit: Visit) -> Response:
    """End the sign-in."""
    await visit.control.people.sign_out(visit.bearer)
    response = RedirectResponse("/sign-in", status_code=303)
    drop_cookie(response, visit.request, "session")
    return response


def _form(visit: Visit, target: str, status: int = 200, problem: str = "", name: str = "") -> Response:
    fields = {"title": visit.t("sign_in.title"), "target": target, "problem": problem, "name": name}
    return visit.fragment("sign_in.html", status, **fields)


ROUTES = (
    Route("GET", "/sign-in", show, "anyone"),
    Route("POST", "/sign-in", sign_in, "anyone"),
    Route("POST", "/sign-out", sign_out),
)
