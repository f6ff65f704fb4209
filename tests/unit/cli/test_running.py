"""Commands against the real admin API on a real socket."""

import json
import subprocess
import sys

import pytest

from trimtab.types import KeySpec, ProviderSpec, Release, RouteSpec, Snapshot, WeightedRelease


def test_a_key_is_printed_once_and_alone(run, running):
    ran = run("keys", "create", "billing", "--payload", "hash")
    assert ran.code == 0
    key = ran.out.strip()
    assert ran.out == f"{key}\n"
    assert key.startswith("tt-")
    assert key not in ran.err
    (spec,) = running.held
    assert (spec.name, spec.payload, spec.project) == ("billing", "hash", "default")
    listed = run("keys", "list").out
    assert spec.id in listed
    assert "billing" in listed
    assert key not in listed
    assert json.loads(run("keys", "list", "--json").out)[0]["id"] == spec.id


def test_a_key_is_revoked_once(run, running):
    running.held.append(KeySpec(id="key_1", sha256="00" * 32))
    assert run("keys", "revoke", "key_1").code == 0
    again = run("keys", "revoke", "key_1")
    assert again.code == 1
    assert "there is no key" in again.err
    for name in ("../health", ""):  # would lead to another path, and "there is nothing at" that says nothing
        ran = run("keys", "revoke", name)
        assert (ran.code, ran.err) == (
            2,
            f"error: {name!r} cannot be a name or an id: those have at least one character, and no '/'\n",
        )
    assert run("keys", "list").out == ""


def test_models_have_context_and_prices(run, running):
    release = Release(model="openai/gpt-4o-mini")
    running.published = Snapshot(
        generation=2,
        providers=(ProviderSpec(name="openai", models=("gpt-4o-mini", "unheard-of")),),
        routes=(RouteSpec(name="a", channels={"production": (WeightedRelease(release=release.id()),)}),),
        releases={release.id(): release},
    )
    lines = run("models").out.splitlines()
    known = next(line for line in lines if "openai/gpt-4o-mini " in line)
    assert known.split() == ["openai/gpt-4o-mini", "128,000", "0.15", "0.60"]
    assert next(line for line in lines if "unheard-of" in line).split()[1:] == ["-", "-", "-"]
    assert "route/a → openai/gpt-4o-mini" in lines[-1]
    assert len(json.loads(run("models", "--json").out)) == 3


def test_calls_come_through_the_api_in_pages(run, running, make_call):
    running.calls = [make_call(n) for n in range(1203)]
    rows = json.loads(run("calls", "--json", "--limit", "1100").out)
    assert [row["id"] for row in rows] == [call.id for call in running.calls[::-1][:1100]]
    assert [query.limit for query in running.finds] == [1000, 100]
    assert run("calls", "show", running.calls[5].id).code == 0
    assert run("calls", "show", "00000000-0000-7000-8000-000000000000").code == 1


def test_a_refusal_of_the_api_is_told(run, running, place):
    (place / "data" / "run" / "admin.token").write_text("wrong")
    ran = run("models")
    assert ran.code == 2
    assert "invalid_api_key" in ran.err


def test_a_server_that_went_away_is_told(run, running, place):
    admin = place / "data" / "run" / "admin.json"
    admin.write_text(
        admin.read_text().replace("127.0.0.1:", "127.0.0.1:1"[:-1]).replace('"url":"', '"url":"')
    )
    from trimtab.serve.runfile import write_admin

    write_admin(place / "data" / "run", "http://127.0.0.1:1")
    ran = run("models")
    assert ran.code == 3
    assert "does not answer" in ran.err


@pytest.fixture
def tail(place):
    children = []

    def start(*arguments):
        child = subprocess.Popen(
            [sys.executable, "-m", "trimtab.cli", "tail", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place,
        )  # fmt: skip
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def test_tail_shows_the_last_calls_then_each_new_one_once(running, make_call, tail):
    from trimtab.types import SystemClock

    now_s = (SystemClock().now_us() - 1_790_000_000_000_000) // 1_000_000
    running.calls = [make_call(now_s - 60 + n) for n in range(20)]
    child = tail("--json", "--last", "2")
    ids = [json.loads(child.stdout.readline())["id"] for _ in range(2)]
    assert ids == [call.id for call in running.calls[-2:]]
    assert "Following" in child.stderr.readline()
    # One that began before all of the others and took long comes late, and is not lost.
    late, new = make_call(now_s - 90), make_call(now_s)
    running.calls = [*running.calls, late, new]
    found = {json.loads(child.stdout.readline())["id"] for _ in range(2)}
    assert found == {late.id, new.id}


def test_tail_cannot_be_used_to_command_the_terminal(running, make_call, tail):
    running.calls = [make_call(words="\x1b]0;x\x07", model="\x1b[31m", error_code="\x9b")]
    running.calls = [make_call(150_000_000, words="\x1b]0;x\x07", model="\x1b[31m")]
    child = tail("--last", "1", "--since", "2026-01-01")
    assert "\x1b" not in child.stderr.readline()
    line = child.stdout.readline()
    assert "␛]0;x␇" in line
    assert "\x1b" not in line
