"""What the model process does: get the weights, load them, answer on loopback until told to stop.

llama.cpp is native code: a fault of its ends the process it runs in, so that process does nothing else.
"""

import hashlib
import importlib
import json
import logging
import os
import secrets
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from trimtab.types.errors import ConfigError, TrimtabError

from .download import FILE_SHA256, StopLike
from .encode import SYSTEM_PROMPT
from .endpoint import Endpoint, Progress, clear_endpoint, clear_progress, write_endpoint, write_progress
from .names import served_name
from .weights import Weights, fetch_weights

_CONTEXT_TOKENS = 3072
"""Of one request. The built-in model was trained on 8,192; each 1,000 tokens of two requests cost 47 MB."""
_SLOTS = 2
"""Requests computed at once; more of them share the same cores and only add memory."""
_BATCH_TOKENS = 256
_TEMPERATURE = 0.2
"""Where the caller names none: the runtime's 0.8 makes so small a model ramble."""
_STOP_POLL_S = 1.0
_QUIET, _TALKATIVE = -1, 3

_log = logging.getLogger("trimtab")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Settings of the model process."""

    run_dir: Path
    """Where to leave the endpoint."""
    model_path: Path | None = None
    """A GGUF file to serve instead of the built-in model."""
    name: str = ""
    """The model's name to callers; empty: made from the file's."""
    threads: int = 0
    """Threads to compute with; 0: all cores but one, for llama.cpp collapses when it shares its last."""
    context_tokens: int = 0
    """Tokens one request may have, prompt and answer together; 0: 3,072."""
    slots: int = _SLOTS
    """Requests computed at once; each costs the memory of one context."""
    cache_dir: Path | None = None
    """Where the built-in model's file is kept; None: the user's cache folder."""
    log_file: Path | None = None
    """Where llama.cpp's log goes, which never holds prompts at this level; None: nowhere."""


def run_model(options: ModelOptions, stop: StopLike, ready: Callable[[Endpoint], None]) -> None:
    """Serve the own model until `stop` is set, then end the process with status 0: llama.cpp has no safe end.

    Downloads the weights where they are missing (93 MB), loads them (1 to 2 s), leaves the endpoint in the
    run folder and calls `ready` with it; takes the endpoint back at the end.

    Raises:
        ConfigError: the runtime is not installed, or `model_path` is no model: starting again cannot help.
        OwnModelUnavailable: the weights could not be fetched.
        Either way the reason stands in the progress file, for callers to be told.
    """
    clear_endpoint(options.run_dir)
    write_progress(options.run_dir, Progress(state="starting"))
    try:
        runtime = _runtime()
        weights = fetch_weights(
            options.model_path,
            cache_dir=options.cache_dir,
            progress=_Reporter(options.run_dir).report,
            stop=stop,
        )
        write_progress(options.run_dir, Progress(state="loading"))
        with _native_log(options.log_file):
            _serve(runtime, weights, options, stop, ready)
    except TrimtabError as error:
        if stop.is_set():
            clear_progress(options.run_dir)
            return
        write_progress(options.run_dir, Progress(state="failed", reason=error.message))
        raise
    finally:
        clear_endpoint(options.run_dir)


def _serve(
    runtime: ModuleType,
    weights: Weights,
    options: ModelOptions,
    stop: StopLike,
    ready: Callable[[Endpoint], None],
) -> None:
    api_key = secrets.token_urlsafe(32)
    params, facts = _params(runtime, weights, options)
    params.api_keys = [api_key]
    try:
        server = runtime.Server(params)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise ConfigError(
            f"llama.cpp could not load {weights.path} ({error}): the file is damaged, is of a kind this "
            "version does not know, or does not fit into memory; name another with --model-path, "
            "or lower own.context"
        ) from error
    endpoint = Endpoint(
        base_url=f"{server.listening_address}/v1",
        api_key=api_key,
        model=facts["name"],
        fingerprint=_fingerprint(weights, facts),
        pid=os.getpid(),
        context_tokens=facts["context_tokens"],
        system_prompt=facts["system_prompt"],
        tools=_knows_tools(server.listening_address, api_key),
        runtime_fingerprint="b{build_number}-{commit}".format_map(runtime.BUILD_INFO),
    )
    write_endpoint(options.run_dir, endpoint)
    _log.info("own model %s answers at %s (%s)", endpoint.model, endpoint.base_url, weights.source)
    ready(endpoint)
    while not stop.wait(_STOP_POLL_S):
        pass
    clear_endpoint(options.run_dir)
    _end_process()


def _end_process() -> None:
    """End at once, answers under way included: their callers see the connection break, and ask again.

    llama.cpp waits in its teardown, for ever and with the interpreter's lock held, for an answer under way.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(0)


def _params(runtime: ModuleType, weights: Weights, options: ModelOptions) -> tuple[Any, dict[str, Any]]:
    """Return llama.cpp's settings, and the facts about them that decide what is answered."""
    built_in = weights.sha256 == FILE_SHA256
    facts: dict[str, Any] = {
        "runtime": runtime.__version__,
        "name": options.name or served_name(options.model_path),
        "context_tokens": options.context_tokens or _CONTEXT_TOKENS,
        "threads": options.threads or max(1, (os.cpu_count() or 1) - 1),
        "batch_tokens": _BATCH_TOKENS,
        "system_prompt": SYSTEM_PROMPT if built_in else "",
        "temperature": _TEMPERATURE if built_in else None,
    }
    params = runtime.CommonParams()
    params.model.path = str(weights.path)
    params.model_alias = {facts["name"]}
    params.n_parallel = options.slots
    # Slots of a fixed size: where they share one context, a full one breaks every running answer.
    params.n_ctx = facts["context_tokens"] * options.slots
    params.kv_unified = False
    params.n_batch = params.n_ubatch = _BATCH_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = facts["threads"]
    if built_in:
        params.sampling.temp = _TEMPERATURE
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_threads_http = 2  # grows with connections, and shrinks again
    # A web page in the user's browser has no business here, and this server none but chat.
    params.ui = params.endpoint_slots = params.endpoint_metrics = False
    params.cors_origins, params.cors_origins_explicit, params.cors_credentials = (
        "http://127.0.0.1",
        True,
        False,
    )
    params.cache_ram_mib = 0  # llama.cpp would keep up to 8 GB of past prompts
    params.verbosity = _TALKATIVE if options.log_file else _QUIET
    return params, facts


def _fingerprint(weights: Weights, facts: dict[str, Any]) -> str:
    known = json.dumps({**facts, "weights": weights.sha256}, sort_keys=True)
    return "own-" + hashlib.sha256(known.encode()).hexdigest()[:12]


def _knows_tools(address: str, api_key: str) -> bool:
    """Ask the server what it read from the model's chat template."""
    headers = {"Authorization": f"Bearer {api_key}"}
    request = urllib.request.Request(f"{address}/props", headers=headers)  # noqa: S310
    # Without the environment's proxies: this is our own port.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as reply:
            return bool(json.load(reply)["chat_template_caps"]["supports_tools"])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # then tools are declined, which is never wrong


def _runtime() -> ModuleType:
    try:
        runtime = importlib.import_module("xllamacpp")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the own model's runtime is not installed: run `pip install 'trimtab[local]'`, or set own.url "
            "to a server of your own"
        ) from error
    except ImportError as error:
        if "libgomp" in str(error):
            raise ConfigError(
                "the own model's runtime needs the system library libgomp.so.1, which is missing: install it "
                "(Debian, Ubuntu: `apt-get install libgomp1`; Fedora: `dnf install libgomp`; Alpine: `apk "
                "add libgomp`)"
            ) from error
        raise ConfigError(
            f"the own model's runtime xllamacpp cannot be loaded ({error}); reinstall it with "
            "`pip install --force-reinstall 'trimtab[local]'`"
        ) from error
    return runtime


class _Reporter:
    """Writes download progress, once a percent."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._percent = -1

    def report(self, done: int, total: int) -> None:
        percent = done * 100 // total
        if percent != self._percent:
            self._percent = percent
            write_progress(self._run_dir, Progress(state="downloading", fraction=percent / 100))


@contextmanager
def _native_log(path: Path | None) -> Iterator[None]:
    """Send what llama.cpp writes to stdout and stderr into a file; native code knows no Python stream."""
    if path is None:
        yield
        return
    saved = [(fd, os.dup(fd)) for fd in (1, 2)]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        for fd, _ in saved:
            os.dup2(file, fd)
        yield
    finally:
        for fd, copy in saved:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(file)
