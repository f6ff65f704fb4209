"""JSON bodies at the gateway: refused with a stable code, or sent on with every field as it was written."""

import json
from random import Random
from typing import Any, Self

from tools.fuzz.grammar import cuts, dumps, mutated, text, value
from tools.fuzz.house import MAX_BODY, House

from . import Target

_CHOICE = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1}
_ANSWER = json.dumps({"id": "c", "model": "m", "choices": [_CHOICE], "usage": _USAGE}).encode()
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
    len(_ANSWER), _ANSWER,
)  # fmt: skip
_STATUSES = (200, 400, 404, 413)


class Bodies(Target):
    """One request's body."""

    name = "bodies"

    def __enter__(self) -> Self:
        self._house = House().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._house.__exit__()

    def make(self, rng: Random) -> Any:
        fields: dict[str, Any] = {
            "model": rng.choice(("p/m", "m", "p/m", text(rng))),
            "messages": [{"role": "user", "content": text(rng)}],
        }
        for _ in range(rng.randrange(4)):
            fields[rng.choice(("temperature", "metadata", "tools", "user", "seed", text(rng)))] = value(rng)
        data, honest = dumps(rng, fields), True
        how = rng.randrange(8)
        if how == 0:
            data, honest = mutated(rng, data), False
        elif how == 1:
            levels = rng.choice((10, 500, 2000, 9000))
            data, honest = data[:-1] + b',"deep":' + b"[" * levels + b"]" * levels + b"}", False
        elif how == 2:
            # To the byte: the largest that is taken, and the smallest that is not.
            pad = MAX_BODY - len(data) + rng.randrange(-2, 4)
            data = data + b" " * pad
        return {"body": data, "pieces": cuts(rng, data), "declared": rng.random() < 0.5, "honest": honest}

    def check(self, case: Any) -> None:
        body = case["body"]
        said = self._house.ask(case["pieces"], [_REPLY], declared=case["declared"])
        assert said.status in _STATUSES, (said.status, said.body[:300])
        assert (said.status == 413) == (len(body) > MAX_BODY), f"{len(body)} bytes get {said.status}"
        assert said.whole
        if said.status != 200:
            code = json.loads(said.body)["error"]["code"]
            assert code != "internal_error", said.body
            assert not self._house.asked, "the provider was asked all the same"
            return
        [sent] = self._house.asked
        if case["honest"]:
            given, passed = json.loads(body), json.loads(sent)
            assert passed.pop("model") == "m"
            given.pop("model")
            assert passed == given, "a field was changed on its way"
        closed = self._house.log.closed()
        assert closed is not None, "an answered call is not recorded"
        assert (closed.state, closed.usage.input_tokens) == ("ok", 1)
