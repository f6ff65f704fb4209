"""What the own model is called."""

import re
from pathlib import Path

MODEL_NAME = "smollm2-135m-instruct"
"""Name of the built-in model."""


def served_name(model_path: Path | None) -> str:
    """Return the model's name: the built-in one's, or the file's stem in lower case.

    A file may be called anything; a model's name goes through URLs, logs and shells.

    >>> served_name(None), served_name(Path("/m/My Model.Q4_K_M.gguf"))
    ('smollm2-135m-instruct', 'my-model.q4_k_m')
    """
    if model_path is None:
        return MODEL_NAME
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model_path.stem).strip("-").lower() or MODEL_NAME
