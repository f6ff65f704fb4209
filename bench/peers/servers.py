"""LiteLLM's proxy and TensorZero's gateway as contenders. Neither stores its calls here."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.contenders import CHAT, Contender, probe
from bench.procfs import Cores, free_port
from bench.servers import await_http, running

from .environments import environment

LITELLM_CONFIG = """
model_list:
  - model_name: gpt-4o-mini
    litellm_params:
      model: openai/gpt-4o-mini
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: sk-x
general_settings:
  master_key: sk-test-1234
litellm_settings:
  telemetry: false
"""


@contextmanager
def litellm(
    folder: Path, cores: Cores, upstream_port: int, say: Callable[[str], None]
) -> Iterator[Contender]:
    """LiteLLM's proxy with a master key, no database and no callbacks, one worker."""
    binaries = environment("litellm", say)
    config, log, port = folder / "litellm.yaml", folder / "litellm.log", free_port()
    config.write_text(LITELLM_CONFIG.format(upstream=upstream_port))
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    words = [
        binaries / "litellm",
        "--config",
        config,
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--num_workers",
        1,
    ]
    with running(words, cores.worker, log, env=plain_environment() | quiet, cwd=folder) as pid:
        await_http(f"http://127.0.0.1:{port}{CHAT}", pid, log, data=probe(), timeout_s=180)
        yield Contender("LiteLLM 1.106.2", port, pid, pid)


TENSORZERO_CONFIG = """
[gateway]
observability.enabled = false

[models.gpt-4o-mini]
routing = ["mock"]

[models.gpt-4o-mini.providers.mock]
type = "openai"
model_name = "gpt-4o-mini"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "env::BENCH_UPSTREAM_KEY"
"""

TENSORZERO_PROGRAM = """
import sys, time, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
open(sys.argv[2] + ".part", "w").write(gateway.base_url)
import os
os.replace(sys.argv[2] + ".part", sys.argv[2])
while True:
    time.sleep(3600)
"""


@contextmanager
def tensorzero(
    folder: Path, cores: Cores, upstream_port: int, say: Callable[[str], None]
) -> Iterator[Contender]:
    """TensorZero's gateway, embedded by its Python wheel, observability off."""
    binaries = environment("tensorzero", say)
    config, log, told = folder / "tensorzero.toml", folder / "tensorzero.log", folder / "tensorzero.url"
    config.write_text(TENSORZERO_CONFIG.format(upstream=upstream_port))
    words = [binaries / "python", "-c", TENSORZERO_PROGRAM, config, told]
    with running(words, cores.worker, log, env=plain_environment() | {"BENCH_UPSTREAM_KEY": "sk-x"}) as pid:
        deadline = time.monotonic() + 60
        while not told.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"TensorZero did not start. Its log ends:\n{log.read_text()[-1500:]}")
            time.sleep(0.05)
        url = urlsplit(told.read_text())
        model = "tensorzero::model_name::gpt-4o-mini"
        path = url.path.rstrip("/") + "/chat/completions"
        body = probe(model)
        await_http(f"http://127.0.0.1:{url.port}{path}", pid, log, data=body)
        yield Contender("TensorZero 2026.6.0", url.port or 0, pid, pid, path=path, model=model)


def plain_environment() -> dict[str, str]:
    """Our environment without keys and settings that a peer would act on."""
    prefixes = ("OPENAI_", "LITELLM_", "TENSORZERO_", "TRIMTAB_", "DATABASE_", "PYTHON", "VIRTUAL_ENV")
    return {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
