"""Erasing users and sessions of an installation under load: no byte of them is left, nobody else is touched."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.audit import audit, marker_of
from rigs.caller import Question
from rigs.house import House, until
from rigs.traffic import Asker, Traffic, usage_of
from trimtab.storage import read_call_line
from trimtab.testing import FakeServer, Pace, Scripted
from trimtab.testing.reply import Ask
from trimtab.types import Usage

SPECIES = ("quagga", "thylacine", "dodo")
"""In turn: erased while their calls go on, after they have ended, by session."""


def answer(ask: Ask) -> Scripted:
    """Say the question again, in pieces: a planted word stands in streamed answers too."""
    words = ask.last_message("user")
    told, out = usage_of(words)
    pace = Pace(before_head_s=0.02, between_s=0.01 if ask.stream else 0.0)
    return Scripted(
        text=[f"{word} " for word in words.split()],
        usage=Usage(input_tokens=told, output_tokens=out),
        pace=pace,
    )


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    with FakeServer(script=answer) as server:
        yield server


def planted(species: str) -> Asker:
    """A client that plants a word in all that it can say."""

    def question(number: int) -> Question:
        marker = f"a {species}-m{number} and 獏{species}獏 {number}"
        session = f"{species}-talk" if number % 3 else "shared-talk"
        headers = (
            ("x-trimtab-user", f"{species}-user"),
            ("x-trimtab-session", session),
            ("x-trimtab-tags", f"{species}-tag,common"),
            ("user-agent", f"{species}-agent/1"),
            ("traceparent", f"00-{number:032x}-{number + 1:016x}-01"),
        )
        comment = f"{species}-comment {number}" if number % 2 else ""
        return Question(
            marker, stream=number % 2 == 0, usage=usage_of(marker), headers=headers, comment=comment
        )

    return Asker(question, 0.03)


def other(number: int) -> Question:
    marker = f"plain words o{number}x {number}"
    headers = (("x-trimtab-user", "somebody"), ("x-trimtab-session", "shared-talk"))
    return Question(marker, stream=number % 2 == 0, usage=usage_of(marker), headers=headers)


def traces(folder: Path, word: str) -> list[str]:
    """Files of a folder with a word in any of its bytes: plain, or as an index or an escape may have it."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                content = path.read_bytes().lower()
            except FileNotFoundError:
                continue
            if word.encode() in content or word.encode("utf-16-le") in content:
                found.append(str(path))
    return found


@pytest.mark.slow
def test_who_is_erased_leaves_no_byte_while_others_go_on_calling(
    tmp_path: Path, upstream: FakeServer
) -> None:
    house = House(tmp_path / "house", upstream.base_url, workers=2)
    with house:
        with Traffic(house.port, [Asker(other)] * 6) as others:
            with Traffic(house.port, [planted(one) for one in SPECIES for _ in range(2)]) as planting:
                planting.wait_for(150)
            for species in SPECIES:
                assert traces(house.data, species), "it was there to be found"
            for species, option in zip(SPECIES, ("--user", "--user", "--session"), strict=True):
                name = f"{species}-talk" if option == "--session" else f"{species}-user"
                erased = json.loads(house.run("erase", option, name, "--yes", "--json"))
                assert erased["calls"] > 20
                if option == "--user":
                    assert traces(house.data, species) == []
            # Of whom a session was erased, the calls outside of it are left.
            left = house.admin("/api/v1/calls?user=dodo-user&limit=1000")[1]["calls"]
            assert left
            assert {row["opened"]["session"] for row in left} == {"shared-talk"}
            assert json.loads(house.run("erase", "--user", "dodo-user", "--yes", "--json"))["calls"] == len(
                left
            )
            assert [traces(house.data, species) for species in SPECIES] == [[], [], []]
            others.wait_for(50)
            copy = tmp_path / "copy"
            house.run("backup", str(copy), "--with-secret")
            house.run("export", "--out", str(tmp_path / "export.jsonl"))
            for species in SPECIES:
                assert traces(house.data, species) == []
                assert traces(copy, species) == []
                assert species not in house.log
                assert species.encode() not in (tmp_path / "export.jsonl").read_bytes()
                found = house.admin(f"/api/v1/calls?text={species}")
                assert found[1]["calls"] == []
            assert not [one for one in others.seen if not one.answered]
        assert house.stop() == 0
    found = audit(house.data, others.seen, [])
    assert not found.problems, found
    assert found.rows == len(others.seen)
    assert [traces(house.data, species) for species in SPECIES] == [[], [], []]


@pytest.mark.slow
def test_calls_that_are_open_during_an_erasure_leave_nothing_either(
    tmp_path: Path, upstream: FakeServer
) -> None:
    """Their clients get whole answers; once they have ended, a moment later nothing of them is left."""
    house = House(tmp_path / "house", upstream.base_url, workers=2)
    with house:
        with Traffic(house.port, [Asker(other)] * 4) as others:
            with Traffic(house.port, [planted("quagga")] * 6) as planting:
                planting.wait_for(20)
                for _ in range(4):
                    began_us = time.time_ns() // 1000
                    house.run("erase", "--user", "quagga-user", "--yes")
                    done_us = time.time_ns() // 1000
                    planting.wait_for(20)
                    left = {
                        read_call_line(line).id
                        for line in house.run("export", "--user", "quagga-user").encode().splitlines()
                    }
                    ended = [one for one in planting.seen if one.ended_us < began_us]
                    assert not {one.call_id for one in ended} & left
                open_then = [one for one in planting.seen if one.began_us < began_us < one.ended_us]
                assert open_then, "some calls were open when it was asked for"
            assert not [one for one in planting.seen if not one.answered]
            after = [one for one in planting.seen if one.began_us > done_us]
            wanted = {one.question.marker for one in after}
            until(lambda: len(rows(house)) >= len(wanted), "what was called after it is stored")
            stored = Counter(rows(house))
            assert wanted <= set(stored)
            house.run("erase", "--user", "quagga-user", "--yes")
            # Feedback that came when its call was gone already waits a minute for it, in the log.
            until(lambda: not traces(house.data, "quagga"), "nothing is left", 90)
        assert house.stop() == 0
    found = audit(house.data, others.seen, [])
    assert not found.problems, found
    assert found.rows == len(others.seen)


def rows(house: House) -> list[str]:
    told = house.run("export", "--user", "quagga-user").encode().splitlines()
    return [marker_of(read_call_line(line)) for line in told]


@pytest.mark.slow
def test_erasing_by_the_console_and_the_command_at_once(tmp_path: Path, upstream: FakeServer) -> None:
    """Several requests at once are carried out each; none is lost or mixed up."""
    house = House(tmp_path / "house", upstream.base_url)
    with house:
        with Traffic(house.port, [planted(one) for one in SPECIES] + [Asker(other)]) as traffic:
            traffic.wait_for(120)
        answers: dict[str, tuple[int, object]] = {}

        def erase(species: str) -> None:
            answers[species] = house.admin("/api/v1/calls/erase", {"user": f"{species}-user"})

        threads = [threading.Thread(target=erase, args=(species,)) for species in SPECIES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {species: status for species, (status, _) in answers.items()} == dict.fromkeys(SPECIES, 200)
        assert [traces(house.data, species) for species in SPECIES] == [[], [], []]
        assert house.stop() == 0
    found = audit(house.data, [one for one in traffic.seen if "plain" in one.question.marker], [])
    assert not found.problems, found
