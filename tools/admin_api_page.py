"""Write docs/reference/admin-api.md from the table of routes; --check only says whether it is fresh."""

import sys
import types
from pathlib import Path
from typing import Annotated, Union, get_args, get_origin

import msgspec

from trimtab.api import ROUTES, Route
from trimtab.config import expectation

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "admin-api.md"

HEAD = """# Admin API

<!-- Made by `make admin-api-page` from src/trimtab/api: change it there. -->

The control process answers on `http://127.0.0.1:8401` (`[console]` in the [configuration](configuration.md)). The
`trimtab` command uses it; so may you. `GET /api/v1/openapi.json` describes it in OpenAPI 3.1.

## Who may ask

Every request but `/healthz` and a sign-in shows a token as `Authorization: Bearer`:

- **the installation's own**, which stands in `run/admin.token` of the data folder, made anew at each `trimtab up` and
  readable by its owner only. Whoever shows it is an admin.
- **a sign-in's**, which `POST /api/v1/login` returns for a user's name and password. It ends 12 hours after its last
  use, 7 days after it was opened, at `POST /api/v1/logout`, and when the user is disabled or given a new password.

```sh
curl -H "Authorization: Bearer $(cat ~/.local/share/trimtab/run/admin.token)" http://127.0.0.1:8401/api/v1/health
```

| role | may |
|---|---|
| `viewer` | look at everything but users and the audit log; change nothing |
| `editor` | change the rest, but no users, limits, budgets, providers' keys, webhooks; erase nothing |
| `admin` | everything |

Whoever tries more is answered with 403 (`forbidden`), and the attempt stands in the audit log, as does every change.

While the API listens on a loopback address, requests from a web page of another origin, for another host name, or
through a proxy are refused even with the token. Bodies are JSON of at most 64 KiB; fields that are not known are
refused. Errors have the gateway's shape and [codes](errors.md) (`{"error": {"message", "type", "param", "code"}}`).

A change answers with `published`: its `generation`, `obeyed` (every living worker obeys it by now), `waiting` (workers
that had not reported it within 5 s; they obey as soon as they can) and `notes`. Times are microseconds since 1970, UTC.
"""

TITLES = {
    "health": "Installation",
    "session": "Signing in",
    "key": "Keys",
    "project": "Projects",
    "provider": "Providers",
    "limit": "Limits",
    "budget": "Budgets",
    "setting": "Settings",
    "view": "Saved views",
    "user": "Users",
    "audit": "Audit log",
    "alert": "Alerts",
    "webhook": "Webhooks",
    "call": "Calls",
    "trace": "Traces",
    "traffic": "Sums over calls",
    "spend": "What calls cost",
    "model": "Models",
    "snapshot": "Snapshot",
    "openapi": "Description",
}
BELONGS = {"workers": "health", "demo": "health", "config": "health", "backup": "health", "feedback": "call"}


def page() -> str:
    """Return the page as it should be.

    Raises:
        SystemExit: a route has no section to stand in.
    """
    lost = [route.name for route in ROUTES if home(route) not in TITLES]
    if lost:
        raise SystemExit(
            f"tools/admin_api_page.py knows no section for {', '.join(lost)}: add its noun to TITLES or BELONGS"
        )
    parts = [HEAD]
    for noun, title in TITLES.items():
        routes = [route for route in ROUTES if home(route) == noun]
        parts.append(f"## {title}\n\n| request | role | does |\n|---|---|---|")
        parts += [row(route) for route in routes]
        parts += [fields(route, route.body, "takes") for route in routes if route.body]
        parts += [fields(route, route.query, "is filtered by") for route in routes if route.query]
        parts[-1] += "\n"
    return "\n".join(parts)


def home(route: Route) -> str:
    """Return the section that a route stands in."""
    noun = route.action.partition(".")[0]
    return "traffic" if route.path == "/api/v1/sessions" else BELONGS.get(noun, noun)


def row(route: Route) -> str:
    """Return a route's row of the table."""
    role = f"`{route.role}`" if route.role else "anybody"
    if route.secrets:
        role += f"; {route.secrets}: `admin`"
    return f"| `{route.name}` | {role} | {route.summary} |"


def fields(route: Route, kind: type[msgspec.Struct], verb: str) -> str:
    """Return what goes into a route, one field an item."""
    lines = [f"\n`{route.name}` {verb}:\n"]
    for field in msgspec.structs.fields(kind):
        about = next((m.description for m in getattr(field.type, "__metadata__", ()) if m.description), "")
        default = "required" if field.required else f"default `{shown(field)}`"
        text = f"- `{field.name}`: {words(field.type)} ({default})"
        lines.append(text + (f". {about}" if about else ""))
    return "\n".join(lines)


def words(hint: object) -> str:
    """Say in words what a field takes; what is no setting's type is JSON of the document's shape."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0] if get_origin(get_args(hint)[0]) in (list, tuple) else hint
    if get_origin(hint) in (types.UnionType, Union):
        (inner,) = (part for part in get_args(hint) if part is not types.NoneType)
        return f"{words(inner)}, or null"
    if get_origin(hint) is list:
        return "a list of texts"
    if get_origin(hint) is tuple:
        return "a list of numbers"
    if get_origin(hint) is dict and get_args(hint)[1] is str:
        return "an object of texts"
    said = expectation(hint)
    return "an object; see the OpenAPI document" if said == "a table" else said


def shown(field: msgspec.structs.FieldInfo) -> str:
    """Return a default as JSON."""
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.json.encode(field.default_factory()).decode()
    return msgspec.json.encode(field.default).decode()


def main() -> int:
    """Write or check; 1 where the page is stale."""
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    print("docs/reference/admin-api.md is stale; run: make admin-api-page", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
