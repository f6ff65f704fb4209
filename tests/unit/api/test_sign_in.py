"""Signing in: guessing, fixation, what is kept, and when it ends."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.control import PASSWORD, TOKEN, ControlRig
from trimtab.access import token_hash
from trimtab.types import RateLimited, Unauthenticated

HOUR_US = 3_600_000_000


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.us = 1_790_000_000_000_000

    def now_us(self) -> int:
        return self.us

    def monotonic(self) -> float:
        return self.us / 1e6


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rig(tmp_path: Path, clock: Clock) -> Iterator[ControlRig]:
    with ControlRig(tmp_path, clock=clock) as rig:
        yield rig


def login(rig: ControlRig, **fields: str) -> tuple[int, str]:
    answer = rig.ask("POST", "/api/v1/login", fields, token="")
    return answer.status, answer.json.get("token", "") if answer.status == 201 else answer.json["error"][
        "code"
    ]


def test_name_and_password_or_the_installations_token(rig: ControlRig) -> None:
    rig.user("Ann", "editor")
    status, token = login(rig, name="ann", password=PASSWORD)
    assert status == 201
    assert rig.ask("GET", "/api/v1/me", token=token).json == {"user": "Ann", "role": "editor"}
    status, token = login(rig, token=TOKEN)
    assert rig.ask("GET", "/api/v1/me", token=token).json == {"user": "admin-token", "role": "admin"}
    assert rig.ask("GET", "/api/v1/users", token=token).status == 200


def test_a_wrong_name_and_a_wrong_password_are_told_alike(rig: ControlRig) -> None:
    rig.user("ann", "viewer")
    answers = [
        rig.ask("POST", "/api/v1/login", {"name": name, "password": password}, token="").raw
        for name, password in (("ann", "wrong"), ("bob", PASSWORD), ("bob", ""), ("admin-token", TOKEN))
    ]
    assert len(set(answers)) == 1
    assert b"invalid_api_key" in answers[0]
    # And take the same time: the hash is computed for nobody too.
    costs = []
    for name in ("ann", "bob"):
        began = time.process_time()
        login(rig, name=name, password="wrong again")
        costs.append(time.process_time() - began)
    assert 0.4 < costs[0] / costs[1] < 2.5


def test_a_sign_in_takes_no_token_from_outside_and_each_has_a_new_one(rig: ControlRig) -> None:
    """Session fixation: nothing that a client brings becomes the sign-in's token."""
    rig.user("ann", "viewer")
    planted = "ts-" + "A" * 43
    answer = rig.ask(
        "POST", "/api/v1/login", {"name": "ann", "password": PASSWORD}, token=planted,
        headers={"cookie": f"session={planted}"},
    )  # fmt: skip
    first = answer.json["token"]
    assert first != planted
    assert "set-cookie" not in answer.headers
    assert rig.ask("GET", "/api/v1/me", token=planted).status == 401
    second = rig.sign_in("ann")
    assert second != first
    assert rig.ask("GET", "/api/v1/me", token=first).status == 200
    unknown = rig.ask(
        "POST", "/api/v1/login", {"name": "ann", "password": PASSWORD, "session": planted}, token=""
    )
    assert unknown.status == 400


def test_signing_out_ends_that_sign_in_alone(rig: ControlRig) -> None:
    first = rig.user("ann", "viewer")
    second = rig.sign_in("ann")
    assert rig.ask("POST", "/api/v1/logout", token=first).status == 200
    assert rig.ask("GET", "/api/v1/me", token=first).status == 401
    assert rig.ask("GET", "/api/v1/me", token=second).status == 200
    for_all = login(rig, token=TOKEN)[1]
    assert rig.ask("POST", "/api/v1/logout", token=for_all).status == 200
    assert rig.ask("GET", "/api/v1/me", token=for_all).status == 401
    assert rig.ask("POST", "/api/v1/logout").status == 200  # the installation's own token is no sign-in
    assert rig.ask("GET", "/api/v1/me").status == 200


def test_a_new_password_ends_all_sign_ins(rig: ControlRig) -> None:
    token = rig.user("ann", "viewer")
    assert rig.ask("PATCH", "/api/v1/users/ann", {"password": "another long password"}).status == 200
    assert rig.ask("GET", "/api/v1/me", token=token).status == 401
    assert login(rig, name="ann", password=PASSWORD)[0] == 401
    assert login(rig, name="ann", password="another long password")[0] == 201


def test_a_removed_user_is_out_and_may_come_back_as_somebody_else(rig: ControlRig) -> None:
    token = rig.user("ann", "admin")
    assert rig.ask("DELETE", "/api/v1/users/ann").status == 200
    assert rig.ask("GET", "/api/v1/me", token=token).status == 401
    rig.user("ann", "viewer")
    assert rig.ask("GET", "/api/v1/me", token=token).status == 401


@pytest.mark.parametrize("own", [True, False], ids=["token", "user"])
def test_a_sign_in_ends_when_idle_and_after_a_week_in_any_case(
    rig: ControlRig, clock: Clock, own: bool
) -> None:
    rig.user("ann", "viewer")
    token = login(rig, token=TOKEN)[1] if own else rig.sign_in("ann")
    for _ in range(13):
        clock.us += 12 * HOUR_US - 1
        assert rig.ask("GET", "/api/v1/me", token=token).status == 200
    clock.us += 12 * HOUR_US + 14
    assert rig.ask("GET", "/api/v1/me", token=token).status == 401
    token = login(rig, token=TOKEN)[1] if own else rig.sign_in("ann")
    clock.us += 12 * HOUR_US
    assert rig.ask("GET", "/api/v1/me", token=token).status == 401


def test_only_a_hash_of_a_sign_ins_token_is_kept(rig: ControlRig) -> None:
    token = rig.user("ann", "viewer")
    rig.run(rig.stores.app(lambda app: app.back_up(str(rig.folder / "copy.db"))))
    held = (rig.folder / "copy.db").read_bytes()
    assert token_hash(token).encode() in held
    assert token.encode() not in held
    assert PASSWORD.encode() not in held


def test_guessing_is_stopped_for_the_name_and_goes_on_for_nobody(rig: ControlRig, clock: Clock) -> None:
    rig.user("ann", "viewer")
    rig.user("bob", "viewer")
    answers = [login(rig, name="ann", password=f"guess {n} of many") for n in range(12)]
    assert answers == [(401, "invalid_api_key")] * 10 + [(429, "rate_limited")] * 2
    # The right password is no way around it, or the limit would tell which one is right.
    assert login(rig, name="ANN", password=PASSWORD)[0] == 429
    answer = rig.ask("POST", "/api/v1/login", {"name": "ann", "password": PASSWORD}, token="")
    assert 0 < int(answer.headers["retry-after"]) <= 91
    assert login(rig, name="bob", password=PASSWORD)[0] == 201
    clock.us += 91_000_000
    assert login(rig, name="ann", password=PASSWORD)[0] == 201


def test_many_guesses_at_once_are_counted_before_they_are_checked(rig: ControlRig) -> None:
    import asyncio

    rig.user("ann", "viewer")

    async def guess() -> list[BaseException | object]:
        people = rig.control.people
        tries = (people.sign_in("ann", f"guess number {n}", "10.0.0.1") for n in range(30))
        return await asyncio.gather(*tries, return_exceptions=True)

    found = [type(answer) for answer in rig.run(guess())]
    assert found.count(Unauthenticated) == 10
    assert found.count(RateLimited) == 20


def test_the_installations_token_is_not_guessed_either(rig: ControlRig) -> None:
    answers = [login(rig, token=f"guess{n}")[0] for n in range(51)]
    assert answers == [401] * 50 + [429]
    assert rig.ask("GET", "/api/v1/me").status == 200


def test_failures_are_audited_without_what_was_typed(rig: ControlRig) -> None:
    rig.user("ann", "viewer")
    login(rig, name="ann", password="hunter2-and-more")
    login(rig, name="hunter2-typed-as-name", password="x")
    login(rig, token="hunter2-token")
    entries = rig.audit(action="session.open")[:3]
    assert [(entry["outcome"], entry["actor"]) for entry in entries] == [
        ("refused", ""), ("refused", ""), ("refused", "ann"),
    ]  # fmt: skip
    assert "hunter2" not in str(rig.audit())


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "password": PASSWORD, "role": "viewer"},
        {"name": "a b", "password": PASSWORD, "role": "viewer"},
        {"name": "-a", "password": PASSWORD, "role": "viewer"},
        {"name": "a" * 65, "password": PASSWORD, "role": "viewer"},
        {"name": "Admin-Token", "password": PASSWORD, "role": "viewer"},
        {"name": "ANN", "password": PASSWORD, "role": "viewer"},
        {"name": "new", "password": "short", "role": "viewer"},
        {"name": "new", "password": "x" * 1025, "role": "viewer"},
        {"name": "new", "password": PASSWORD, "role": "root"},
        {"name": "new", "password": PASSWORD, "role": "viewer", "disabled": True},
        {"name": "new"},
    ],
)
def test_users_are_checked(rig: ControlRig, body: dict[str, object]) -> None:
    rig.user("ann", "viewer")
    answer = rig.ask("POST", "/api/v1/users", body)
    assert answer.status == 400
    assert len(rig.ask("GET", "/api/v1/users").json["users"]) == 1


def test_passwords_and_hashes_are_never_shown(rig: ControlRig) -> None:
    made = rig.ask("POST", "/api/v1/users", {"name": "ann", "password": PASSWORD, "role": "viewer"})
    listed = rig.ask("GET", "/api/v1/users")
    for raw in (made.raw, listed.raw, str(rig.audit()).encode()):
        assert not re.search(rb"argon2|a long enough", raw)


def test_checking_passwords_leaves_the_event_loop_free(rig: ControlRig) -> None:
    import asyncio

    rig.user("ann", "viewer")

    async def main() -> int:
        beats, done = 0, False

        async def beat() -> None:
            nonlocal beats
            while not done:
                await asyncio.sleep(0)
                beats += 1

        beating = asyncio.ensure_future(beat())
        await asyncio.gather(*(rig.control.people.sign_in("ann", PASSWORD, "") for _ in range(3)))
        done = True
        await beating
        return beats

    # On the loop itself, each check would let it turn a few times only.
    assert rig.run(main()) > 100


def test_ones_own_password_changes_and_every_other_sign_in_ends(rig) -> None:
    mine, other, stranger = rig.user("ann", "viewer"), rig.sign_in("ann"), rig.user("bob", "viewer")
    body = {"current": PASSWORD, "password": "quite another password"}
    answer = rig.ask("POST", "/api/v1/me/password", body, token=mine)
    assert answer.status == 200, answer
    assert rig.ask("GET", "/api/v1/me", token=answer.json["token"]).json == {"user": "ann", "role": "viewer"}
    for ended in (mine, other):
        assert rig.ask("GET", "/api/v1/me", token=ended).status == 401
    assert rig.ask("GET", "/api/v1/me", token=stranger).status == 200
    assert rig.sign_in("ann", "quite another password")
    entry = rig.audit(action="user.password")[0]
    assert (entry["actor"], entry["object"], entry["detail"]) == ("ann", "ann", {"password": "changed"})
    assert PASSWORD not in repr(rig.audit())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"current": "not this one, no", "password": "quite another password"}, "not the present password"),
        ({"current": PASSWORD, "password": PASSWORD}, "is the present one"),
        ({"current": PASSWORD, "password": "short"}, "length >= 12"),
    ],
)
def test_a_password_that_cannot_be_changed_leaves_all_as_it_is(rig, body, said) -> None:
    token = rig.user("ann", "viewer")
    answer = rig.ask("POST", "/api/v1/me/password", body, token=token)
    assert answer.status == 400
    assert said in answer.json["error"]["message"]
    assert rig.ask("GET", "/api/v1/me", token=token).status == 200
    assert rig.sign_in("ann")


def test_the_installations_token_has_no_password_to_change(rig) -> None:
    body = {"current": TOKEN, "password": "quite another password"}
    answer = rig.ask("POST", "/api/v1/me/password", body)
    assert answer.status == 400
    assert "changes at every start" in answer.json["error"]["message"]
    assert TOKEN not in answer.json["error"]["message"]


def test_guesses_through_an_open_sign_in_are_bounded(rig) -> None:
    token = rig.user("ann", "viewer")
    body = {"current": "not this one, no", "password": "quite another password"}
    statuses = [rig.ask("POST", "/api/v1/me/password", body, token=token).status for _ in range(12)]
    assert 429 in statuses
