"""`trimtab call`: ask a model through the running gateway, as an application would."""

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from .options import AsJson, Place
from .reach import running
from .terminal import CommandFailed, note, printable, show_duration, stdout_is_terminal, write, write_json

if TYPE_CHECKING:
    from trimtab.sdk import Answer, ApiError, Client


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How the model is asked."""

    system: Annotated[str, Parameter(help="System prompt.")] = ""
    temperature: Annotated[
        float | None, Parameter(help="0 for the likeliest words; the model's own if left out.")
    ] = None
    max_tokens: Annotated[int | None, Parameter(help="Longest answer, in tokens.")] = None
    stream: Annotated[bool, Parameter(help="Print the answer while it is being made.")] = True


def _words(_kind: type, text: str | None) -> None:
    if text is not None and text.startswith("-") and text != "-":
        raise ValueError(f"there is no option {text!r} (for a text that begins like one, write it after --)")


Words = Parameter(allow_leading_hyphen=True, validator=_words)
"""Lets `-` through, which stands for stdin; a mistyped option is still refused."""


def call(
    model: Annotated[str, Words],
    prompt: Annotated[str | None, Words] = None,
    /,
    *,
    asking: Asking | None = None,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Ask a model through the running gateway; the answer goes to stdout.

    `trimtab call PROMPT` asks the model in TRIMTAB_MODEL, else the only route, the own or the only model.
    PROMPT may be `-` for what stdin holds. On a terminal, control characters of the answer are shown and
    not obeyed; a pipe gets the answer as it is. TRIMTAB_API_KEY is sent where it is set; TRIMTAB_BASE_URL
    names a gateway elsewhere.

    Args:
        model: `provider/model`, `route/NAME` or a bare model name; may be left out.
        prompt: What to ask.
        asking: How the model is asked.
        place: Which installation.
        json: Print the whole reply as JSON, unstreamed.
    """
    from trimtab.sdk import ApiError, Client
    from trimtab.types import RetryPolicy

    asking = asking or Asking()
    name, text = ("", model) if prompt is None else (model, prompt)
    if text == "-":
        text = _stdin()
    if not text.strip():
        raise CommandFailed("there is nothing to ask", mend="trimtab call 'What is ...?'", exit_code=2)
    _refuse_broken_text(name, text, asking.system)
    # The gateway retries already; a person at a terminal wants to see the first error.
    with Client(_base_url(place or Place()), retry=RetryPolicy(attempts=1)) as client:
        began = time.monotonic()
        try:
            name = name or _default_model(client.models())
            answer = _ask(client, name, text, asking, json=json)
        except ApiError as error:
            raise _failure(error) from error
    _footer(answer, time.monotonic() - began)
    return 0


def _stdin() -> str:
    try:
        return sys.stdin.read().rstrip("\n")
    except UnicodeDecodeError as error:
        raise _broken() from error


def _refuse_broken_text(*texts: str) -> None:
    # Bytes of the command line that are no UTF-8 come as lone surrogates, which JSON cannot carry.
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError as error:
        raise _broken() from error


def _broken() -> CommandFailed:
    return CommandFailed(
        "the text holds bytes that are not UTF-8", mend="convert it first, with iconv -t UTF-8", exit_code=2
    )


def _base_url(place: Place) -> str | None:
    if os.environ.get("TRIMTAB_BASE_URL"):
        return None
    return f"{running(place).gateway}/v1"


def _default_model(models: list[str]) -> str:
    """Return the model that is meant where none is named.

    Raises:
        CommandFailed: there are several, and nothing says which.
    """
    chosen = os.environ.get("TRIMTAB_MODEL", "")
    if chosen:
        return chosen
    for prefix in ("route/", "own/", ""):
        meant = [model for model in models if model.startswith(prefix)]
        if len(meant) == 1:
            return meant[0]
    if not models:
        raise CommandFailed(
            "no model answers here",
            mend="set OPENAI_API_KEY, or `pip install 'trimtab[local]'`, then start `trimtab up` again",
        )
    raise CommandFailed(
        f"which of {len(models)} models? {', '.join(models[:5])}{', ...' if len(models) > 5 else ''}",
        mend="name it before the prompt, or set TRIMTAB_MODEL; `trimtab models` lists them all",
        exit_code=2,
    )


def _ask(client: "Client", model: str, text: str, asking: Asking, *, json: bool) -> "Answer":
    wishes: dict[str, Any] = {"temperature": asking.temperature, "max_tokens": asking.max_tokens}
    params = {name: value for name, value in wishes.items() if value is not None}
    if json or not asking.stream:
        answer = client.generate(text, model=model, system=asking.system, **params)
        if json:
            write_json(answer.raw)
        else:
            _say(answer.text + "\n")
        return answer
    begun = False
    with client.stream(text, model=model, system=asking.system, **params) as pieces:
        try:
            for piece in pieces:
                begun = True
                _say(piece)
        finally:
            # What was printed before an error or a Ctrl-C must not share a line with what follows.
            if begun:
                write()
        return pieces.answer


def _say(text: str) -> None:
    write(printable(text) if stdout_is_terminal() else text, end="")


def _failure(error: "ApiError") -> CommandFailed:
    mends = {
        "gateway_unreachable": "is `trimtab up` still running? its terminal says more",
        "invalid_api_key": "set TRIMTAB_API_KEY to a key from `trimtab keys create`",
        "model_not_found": "`trimtab models` lists what answers now",
    }
    at_fault = 400 <= error.status < 500 and error.status not in (408, 429, 499)
    mend = mends.get(error.code, f"more: trimtab calls show {error.call_id}" if error.call_id else "")
    return CommandFailed(str(error), mend=mend, exit_code=2 if at_fault else 3)


def _footer(answer: "Answer", took_s: float) -> None:
    usage = answer.usage
    parts = [
        answer.model,
        "" if usage is None else f"{usage.input_tokens} + {usage.output_tokens} tokens",
        show_duration(took_s * 1000),
        "degraded" if answer.degraded else "",
        f"call {answer.call_id}" if answer.call_id else "",
    ]
    if sys.stderr.isatty():
        note(" · ".join(part for part in parts if part), "dim")
