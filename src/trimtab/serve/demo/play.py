"""Plays planned calls through fake providers, and returns what the gateway would have recorded of them."""

import hashlib
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from trimtab.catalog import Catalog, estimate_request_tokens, estimate_tokens
from trimtab.testing import Ask, FakeProvider, Scripted, ToolCall
from trimtab.types import (
    Attempt,
    Closed,
    Completion,
    Deadlines,
    FeedbackGiven,
    Opened,
    ProviderError,
    ProviderRejected,
    Request,
    Usage,
)

from .day import Incident, Planned
from .texts import DemoApp

_PACE: dict[str, tuple[int, int]] = {
    "anthropic": (620, 70), "openai": (480, 95), "google": (350, 160), "mistral": (310, 110), "own": (900, 25),
}  # fmt: skip
"""Provider → (milliseconds to the first byte, tokens a second)."""

_BUSY = "The service is currently overloaded. Please try again later."
_RATE = "Rate limit reached for requests per minute. Please try again in 2 s."
_TOO_LONG = "This model's maximum context length is exceeded. Please reduce the length of the messages."

_TRIES = 3


class Outcome(msgspec.Struct, kw_only=True):
    """What became of a call."""

    attempts: list[Attempt] = []
    model: str = ""
    took_us: int = 0
    first_us: int = 0
    usage: Usage = Usage()
    completion: Completion | None = None
    error: ProviderError | None = None


class Player:
    """Turns planned calls into records; everything that looks like chance comes from one seed."""

    def __init__(self, project: str, keys: dict[str, str], incident: Incident, rng: Random) -> None:
        """Prepare.

        Args:
            project: whose calls they are.
            keys: route → id of the key that its application holds.
            incident: what goes wrong.
            rng: seeded.
        """
        self._project = project
        self._keys = keys
        self._incident = incident
        self._rng = rng
        self._catalog = Catalog.load()
        self._next = Scripted("")
        self._providers = {name: FakeProvider(name=name, script=self._scripted, raw=True) for name in _PACE}
        self._releases: dict[tuple[str, bool], str] = {}

    def _scripted(self, _ask: Ask) -> Scripted:
        return self._next

    async def play(self, planned: Planned) -> tuple[Opened, Closed]:
        """Return the two records of a call."""
        app, rng = planned.app, self._rng
        canary = bool(app.canary) and rng.random() < 0.1
        stream = rng.random() < app.stream
        body = self._body(planned, stream=stream)
        release = self._release(app, canary=canary)
        opened = Opened(
            id=self._id(planned.at_us), opened_us=planned.at_us, project=self._project, purpose="live",
            kind=app.kind, route=app.route, channel="canary" if canary else "production", release=release,
            arm="", model_asked=f"route/{app.route}", model=app.canary if canary else app.model,
            params_hash=hashlib.blake2b(msgspec.json.encode(app.parameters), digest_size=8).hexdigest(),
            stream=stream, key=self._keys[app.route], session=planned.session, user=planned.user, tags=app.tags,
            client=app.client, trace_parent=f"00-{rng.getrandbits(128):032x}-{rng.getrandbits(64):016x}-01",
            parent_call="", replay_of="", payload="full", request=msgspec.json.encode(body),
        )  # fmt: skip
        outcome = Outcome(attempts=[])
        for model in (opened.model, *app.fallbacks):
            if await self._try(model, planned, opened, outcome):
                break
        return opened, self._closed(opened, outcome)

    async def _try(self, model: str, planned: Planned, opened: Opened, outcome: Outcome) -> bool:
        """Ask one model until it answers; return False where the next one is to be asked."""
        outcome.model = model
        for attempt in range(_TRIES):
            began = outcome.took_us
            fate = self._fate(model, opened.opened_us + began)
            self._next = self._reply(model, planned, opened, fate)
            outcome.completion, error = await self._ask(model, opened)
            outcome.error = error
            took = self._took(model, opened, outcome, fate)
            outcome.took_us = began + took
            code = "" if error is None else error.code
            outcome.attempts.append(Attempt(model, began, took, code, fate))
            if error is None or error.code == ProviderRejected.code:
                outcome.first_us += began
                return True
            if attempt < _TRIES - 1:
                outcome.took_us += self._rng.randint(80_000, 700_000)
        return False

    def _fate(self, model: str, at_us: int) -> int:
        """Return the HTTP status that the provider answers with at this moment."""
        provider, rng = model.partition("/")[0], self._rng
        mood = self._incident.mood(provider, at_us)
        chances = {
            "failing": ((503, 0.9), (429, 0.06)),
            "slow": ((503, 0.06),),
            "busy": ((429, 0.75 if provider == "openai" else 0.05),),
        }.get(mood, ((429, 0.006), (503, 0.004), (400, 0.003)))
        if provider == "own":
            return 200
        throw = rng.random()
        for status, chance in chances:
            if throw < chance:
                return status
            throw -= chance
        return 200

    def _reply(self, model: str, planned: Planned, opened: Opened, fate: int) -> Scripted:
        response_id = f"chatcmpl-demo-{self._rng.getrandbits(64):016x}"
        if fate != 200:
            message = {429: _RATE, 400: _TOO_LONG}.get(fate, _BUSY)
            return Scripted(status=fate, error=message)
        if planned.app.kind == "embeddings":
            return Scripted(usage=Usage(input_tokens=estimate_request_tokens(opened.request)))
        text = planned.app.own if model.startswith("own/") else planned.answer
        tool = planned.app.tool
        calls = []
        if planned.calls_tool and tool is not None and not model.startswith("own/"):
            arguments = {
                name: planned.chosen.get(value.strip("{}"), value) for name, value in tool.arguments.items()
            }
            calls = [ToolCall(tool.name, msgspec.json.encode(arguments).decode(), "call_demo_0")]
        asked = estimate_request_tokens(opened.request)
        cached = asked // 64 * 48 if planned.turn > 1 and asked > 256 else 0
        thought = self._rng.randint(40, 400) if "opus" in model or "gpt-5" in model else 0
        spoken = estimate_tokens(text) + 18 * len(calls)
        usage = Usage(
            input_tokens=asked,
            output_tokens=spoken + thought,
            cached_tokens=cached,
            reasoning_tokens=thought,
        )
        name = model.partition("/")[2]
        return Scripted(
            text, tool_calls=calls, usage=usage, model=name, response_id=response_id, fingerprint="fp_demo"
        )

    async def _ask(self, model: str, opened: Opened) -> tuple[Completion | None, ProviderError | None]:
        provider, _, name = model.partition("/")
        fields = msgspec.json.decode(opened.request, type=dict[str, msgspec.Raw])
        request = Request(kind=opened.kind, model=name, body=fields, stream=False, deadlines=Deadlines())
        try:
            async with self._providers[provider].open(request) as reply:
                return await reply.completion(), None
        except ProviderError as error:
            return None, error

    def _took(self, model: str, opened: Opened, outcome: Outcome, fate: int) -> int:
        """Return how long the attempt took, in microseconds; note its first byte and its usage."""
        provider, rng = model.partition("/")[0], self._rng
        first_ms, per_s = _PACE[provider]
        mood = self._incident.mood(provider, opened.opened_us)
        first_us = int(first_ms * 1000 * rng.lognormvariate(0, 0.35) * (7 if mood == "slow" else 1))
        if fate != 200 or outcome.completion is None or outcome.completion.usage is None:
            return first_us * (4 if fate == 503 and mood else 1) // 3
        outcome.usage = usage = outcome.completion.usage
        outcome.first_us = first_us
        return first_us + int(usage.output_tokens / per_s * 1e6 * rng.uniform(0.8, 1.3))

    def _closed(self, opened: Opened, outcome: Outcome) -> Closed:
        error, done = outcome.error, outcome.completion
        gone = error is None and opened.stream and self._rng.random() < 0.012
        usage, took_us = (Usage() if error else outcome.usage), outcome.took_us
        if gone:
            took_us = (outcome.first_us + took_us) // 2
            usage = msgspec.structs.replace(
                usage, output_tokens=usage.output_tokens // 2, reasoning_tokens=0, estimated=True
            )
        cost, version = self._catalog.cost(outcome.model, usage, opened.opened_us)
        status, code, message = 200, "", ""
        if error is not None:
            status, code, message = error.status, error.code, error.message
        elif gone:
            status, code, message = 499, "client_cancelled", "the client closed its connection before the end"
        whole = done if error is None else None
        return Closed(
            id=opened.id, closed_us=opened.opened_us + took_us,
            first_byte_us=outcome.first_us if whole and opened.stream else 0,
            state="cancelled" if gone else "error" if error else "ok", status=status, error_code=code,
            error_message=message, model=outcome.model, model_served=whole.model if whole else "",
            provider=outcome.model.partition("/")[0], provider_response_id=whole.response_id if whole else "",
            provider_request_id=f"req_demo_{self._rng.getrandbits(48):012x}",
            fingerprint=whole.fingerprint if whole else "",
            finish_reason=whole.finish_reason if whole and not gone else "", attempts=tuple(outcome.attempts),
            usage=usage, cost_nusd=cost if usage.input_tokens else 0, price_version=version,
            degraded=outcome.model.startswith("own/"), cache_hit=False, response=whole.body if whole else b"",
        )  # fmt: skip

    def judge(self, app: DemoApp, opened: Opened, closed: Closed) -> Iterator[FeedbackGiven]:
        """Yield what a user says of an answer: mostly nothing."""
        rng = self._rng
        if closed.state != "ok" or rng.random() >= app.feedback * (3 if closed.degraded else 1):
            return
        slow = closed.closed_us - opened.opened_us > 9_000_000
        good = rng.random() < (0.15 if closed.degraded else 0.5 if slow else 0.85)
        said = app.comments["good" if good else "bad"]
        at_us = closed.closed_us + rng.randint(4_000_000, 90_000_000)
        yield FeedbackGiven(
            id=self._id(at_us), call_id=opened.id, at_us=at_us, project=self._project, name="thumbs",
            score=1.0 if good else 0.0, value="up" if good else "down",
            comment=rng.choice(said) if said and rng.random() < 0.5 else "", correction="", user=opened.user,
            key=opened.key,
        )  # fmt: skip

    def _release(self, app: DemoApp, *, canary: bool) -> str:
        key = (app.route, canary)
        if key not in self._releases:
            self._releases[key] = app.release(canary=canary).id()
        return self._releases[key]

    def _body(self, planned: Planned, *, stream: bool) -> dict[str, Any]:
        app = planned.app
        body: dict[str, Any] = {"model": f"route/{app.route}"}
        if app.kind == "embeddings":
            return body | {"input": planned.messages[-1]["content"], **app.parameters}
        body |= {"messages": planned.messages, **app.parameters}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if planned.user:
            body["user"] = planned.user
        if app.tool is not None:
            properties = {name: {"type": "string"} for name in app.tool.arguments}
            schema = {"type": "object", "properties": properties, "required": list(properties)}
            function = {"name": app.tool.name, "description": app.tool.description, "parameters": schema}
            body["tools"] = [{"type": "function", "function": function}]
        return body

    def _id(self, at_us: int) -> str:
        """Return a UUIDv7 of that moment whose random bits come from the seed."""
        bits = f"{self._rng.getrandbits(74):019x}"
        h = f"{at_us // 1000:012x}"
        variant = "89ab"[int(bits[3], 16) & 3]
        return f"{h[:8]}-{h[8:]}-7{bits[:3]}-{variant}{bits[4:7]}-{bits[7:19]}"
