"""The part of the kit for `AppStore` that is about people: users, sign-ins, the audit log, views."""

import msgspec

from trimtab.storage import AppStore
from trimtab.types import AuditEntry, LoginSession, SavedView, User, new_id

from .refusal import refuses

_ANN = User(name="Ann", role="admin", password="$argon2id$v=19$x", created_us=1)  # noqa: S106 - a hash of nothing
_BOB = User(name="bob", role="viewer", created_us=2)


def check_people(store: AppStore) -> None:
    """Check what `AppStore` promises of people, on a store that has none.

    Raises:
        AssertionError: with the promise that was broken.
    """
    _check_users(store)
    _check_logins(store)
    _check_audit(store)
    _check_views(store)


def check_people_kept(store: AppStore) -> None:
    """Check that what `check_people` left is there after the store was opened again.

    Raises:
        AssertionError: with the promise that was broken.
    """
    assert store.users() == [_ANN, _BOB], "users must be kept"
    assert store.login("a" * 64, 50) is not None, "sign-ins must be kept"
    assert len(store.audit()) == 6, "the audit log must be kept"
    assert [view.name for view in store.views()] == ["Errors"], "views must be kept"


def _check_users(store: AppStore) -> None:
    assert store.users() == [], "there must be no users yet"
    assert store.user("ann") is None, "user must return None where there is none"
    store.put_user(_BOB)
    store.put_user(msgspec.structs.replace(_ANN, name="ann", role="editor"))
    store.put_user(_ANN)
    assert store.users() == [_ANN, _BOB], "names must be unique whatever their case, and users come by name"
    assert store.user("ANN") == _ANN, "user must find a name whatever its case"
    store.put_user(User(name="carl", role="viewer"))
    store.add_login(_login("9", user="Carl"))
    assert store.remove_user("CARL") is True, "remove_user must say that it removed"
    assert store.remove_user("carl") is False, "remove_user must return False where there is none"
    store.put_user(User(name="carl", role="viewer"))
    assert store.login("9" * 64, 50) is None, "its sign-ins must go with a user, for good"
    store.remove_user("carl")


def _login(digit: str, *, user: str = "ann", created_us: int = 10, expires_us: int = 100) -> LoginSession:
    return LoginSession(
        sha256=digit * 64, user=user, role="admin", created_us=created_us, expires_us=expires_us
    )


def _check_logins(store: AppStore) -> None:
    store.add_login(_login("a"))
    found = store.login("a" * 64, 99)
    assert found == msgspec.structs.replace(_login("a"), user="Ann"), "a sign-in must come back as it was"
    assert store.login("a" * 64, 100) is None, "a sign-in must end when it expires"
    assert store.login("b" * 64, 50) is None, "login must return None for a token that is not stored"
    store.put_user(msgspec.structs.replace(_ANN, role="viewer"))
    found = store.login("a" * 64, 50)
    assert found is not None, "a changed user must stay signed in"
    assert found.role == "viewer", "a sign-in must have its user's present role"
    store.put_user(msgspec.structs.replace(_ANN, disabled=True))
    assert store.login("a" * 64, 50) is None, "a disabled user must not be signed in"
    store.put_user(_ANN)
    store.add_login(_login("b", user="bob"))
    store.add_login(_login("c", user="BOB"))
    assert store.end_logins_of("Bob") == 2, "end_logins_of must end all of a user's, and say how many"
    assert store.login("c" * 64, 50) is None, "end_logins_of must end a user's sign-ins"
    store.add_login(_login("d"))
    store.end_login("d" * 64)
    store.end_login("d" * 64)
    assert store.login("d" * 64, 50) is None, "end_login must end a sign-in"
    assert store.login("a" * 64, 50) is not None, "end_login must end no other sign-in"
    store.add_login(_login("e", expires_us=20))
    store.add_login(_login("f", created_us=20))
    assert store.login("e" * 64, 15) is None, "add_login must drop sign-ins that have expired"
    store.add_login(_login("e", user="nobody"))
    assert store.login("e" * 64, 50) is None, "a sign-in whose user is not there must be none"


def _check_audit(store: AppStore) -> None:
    actions = ["key.create", "key.revoke", "keyring.open", "user.add", "key.create", "user.add"]
    entries = [
        AuditEntry(
            id=new_id(), at_us=i, actor="bob" if i == 4 else "Ann", role="admin", action=action,
            object=f"o{i % 2}", detail={"role": ["viewer", "admin"], "n": i},
            outcome="refused" if i == 3 else "done", address="127.0.0.1",
        )
        for i, action in enumerate(actions)
    ]  # fmt: skip
    for entry in entries:
        store.add_audit(entry)
    assert store.audit() == entries[::-1], "audit entries must come back as they were, newest first"
    wanted = {
        "action 'key.create'": (store.audit(action="key.create"), [4, 0]),
        "action 'key.'": (store.audit(action="key."), [4, 1, 0]),
        "actor": (store.audit(actor="bob"), [4]),
        "object": (store.audit(object="o1"), [5, 3, 1]),
        "limit": (store.audit(limit=2), [5, 4]),
        "before": (store.audit(before=entries[4].id, limit=2), [3, 2]),
        "all filters": (store.audit(actor="Ann", action="user.", object="o1", before=entries[5].id), [3]),
    }
    for name, (found, numbers) in wanted.items():
        assert [entry.at_us for entry in found] == numbers, f"audit by {name} must give those, and only those"
    changed = msgspec.structs.replace(entries[0], actor="nobody")
    refuses(lambda: store.add_audit(changed), "an audit entry's id must be taken once only")
    assert store.audit() == entries[::-1], "an audit entry must never change"


def _check_views(store: AppStore) -> None:
    view = SavedView(id="v1", name="Errors", owner="Ann", query="state=error", created_us=3)
    store.put_view(msgspec.structs.replace(view, name="Zebra"))
    store.put_view(SavedView(id="v2", name="Mine", owner="bob", query="user=me"))
    store.put_view(view)
    assert [one.id for one in store.views()] == ["v1", "v2"], "views must be replaced, and come by name"
    assert store.views()[0] == view, "a view must come back as it was"
    assert store.remove_view("v2") is True, "remove_view must say that it removed"
    assert store.remove_view("v2") is False, "remove_view must return False where there is none"
