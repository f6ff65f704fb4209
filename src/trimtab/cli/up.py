"""`trimtab up`: everything, in the foreground."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from .options import Place

Port = Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=65535))]


def up(
    place: Place | None = None,
    *,
    host: str | None = None,
    port: Port = None,
    console_port: Port = None,
    workers: Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=256))] = None,
    model_path: Path | None = None,
    demo: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Start the gateway, the recorder and the console in the foreground. Ctrl-C ends them, open calls first.

    Exit 2 where the configuration is at fault, 3 where a port or the data folder is taken.

    Args:
        place: Which installation.
        host: Address that the gateway listens on.
        port: Port that applications call.
        console_port: Port of the console and the admin API.
        workers: Worker processes; one fills one core.
        model_path: A GGUF file to run as the own model.
        demo: Fill the project `demo` with a day of made-up calls first, so that there is something to look at.
            `trimtab demo remove` takes it away.
    """
    from trimtab.serve import UpOptions
    from trimtab.serve import up as serve_up

    place = place or Place()
    return serve_up(
        UpOptions(
            config=place.config,
            host=host,
            port=port,
            console_port=console_port,
            workers=workers,
            data=place.data,
            model_path=model_path,
            demo=demo,
        )
    )
