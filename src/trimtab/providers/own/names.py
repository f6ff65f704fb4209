"""What the own model is called."""

import re
from pathlib import Path

MODEL_NAME = "smollm2-135m-instruct"
"""Name of the built-in model."""


def served_name(model_path: Path | None) -> str:
    """Return the model's name where none is configured: the file's stem in lower case, or the built-in one's.

    A file may be called anything; a model's name goes through URLs, logs and shells.

    >>> served_name(None), served_name(Path("/m/My Model.Q4_K_M.gguf"))
    ('smollm2-135m-instruct', 'my-model.q4_k_m')
    """
    known = model_path.stem if model_path is not None else ""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", known).strip("-").lower() or MODEL_NAME
