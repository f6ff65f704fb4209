"""Could a configuration be served? Asked by `trimtab config check`, before anything is started."""

import asyncio

from trimtab.config import Config

from .child.check import check_snapshot
from .folder import Layout
from .publish import declared


def check_config(config: Config) -> None:
    """Make every provider, compile every route and read the prices, as a start would; keep nothing.

    Reads files that the configuration names; opens no connection.

    Raises:
        ConfigError: a start, or a worker, would refuse it.
    """
    asyncio.run(check_snapshot(declared(config), Layout(config.data_dir).run))
