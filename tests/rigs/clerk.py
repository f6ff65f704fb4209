"""An admin who goes on changing things while calls are made: keys, projects, users; and what stood at each moment."""

import itertools
import time
from dataclasses import dataclass, field

from .house import House
from .threads import Busy

PASSWORD = "a long enough password"


@dataclass
class Made:
    """Something that the admin API said it had done."""

    what: str
    """`key`, `project` or `user`."""
    name: str
    done_us: int
    secret: str = ""
    gone_us: int = 0
    """When its removal was asked for; 0: never."""


@dataclass
class Clerk(Busy):
    """Makes a key, a project and a user in turn, and revokes every third key."""

    thread = "clerk"

    house: House
    made: list[Made] = field(default_factory=list)

    def before(self, moment_us: int, what: str) -> list[Made]:
        """What had been made by a moment, and nobody had begun to remove by a second after it."""
        return [
            one for one in tuple(self.made)
            if one.what == what and one.done_us < moment_us and not one.gone_us
        ]  # fmt: skip

    def _work(self) -> None:
        for number in itertools.count():
            if self._stop.wait(0.05):
                return
            self._make(number)

    def _make(self, number: int) -> None:
        project = f"project-{number}"
        self._ask(f"/api/v1/projects/{project}", {"title": f"Project {number}"}, "PUT", 200)
        self.made.append(Made("project", project, _now_us()))
        made = self._ask("/api/v1/keys", {"name": f"key {number}", "project": project}, "POST", 201)
        key = Made("key", made["id"], _now_us(), made["key"])
        self.made.append(key)
        if number % 3 == 0:
            key.gone_us = _now_us()
            self._ask(f"/api/v1/keys/{key.name}", None, "DELETE", 200)
        if number % 10 == 0:
            user = f"user-{number}"
            self._ask("/api/v1/users", {"name": user, "password": PASSWORD, "role": "editor"}, "POST", 201)
            self.made.append(Made("user", user, _now_us(), PASSWORD))

    def _ask(self, path: str, body: object, method: str, expected: int):
        status, answer = self.house.admin(path, body, method=method)
        assert status == expected, (method, path, status, answer)
        return answer


def _now_us() -> int:
    return time.time_ns() // 1000
