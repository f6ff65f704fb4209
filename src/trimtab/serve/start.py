"""`trimtab up`: from options to a running set of processes, or a clear refusal."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import msgspec

from trimtab.config import OWN, Config, find_file, load_config
from trimtab.types import ConfigError, StorageError

from . import platform
from .folder import FolderLock, Layout, clean_run
from .log import log, set_up_log
from .options import (
    EXIT_INFRASTRUCTURE,
    EXIT_USAGE,
    ChildKind,
    ChildOptions,
    UpOptions,
    is_loopback,
    url_of,
)
from .publish import own_model
from .runfile import read_token
from .spawn import Child
from .supervisor import Supervisor, Wishes


class PortTaken(Exception):
    """Something else listens where the gateway or the console should. Never leaves this module."""


def up(options: UpOptions) -> int:
    """Run Trimtab in the foreground until a signal ends it; return the exit status.

    0: ended in order. 2: the configuration is at fault. 3: the folder is held, a port is taken, a process
    would not start, or a second signal cut the end short.
    """
    set_up_log("trimtab")
    os.umask(0o077)
    try:
        platform.refuse_unsupported()
        config = configure(options)
        layout = Layout(config.data_dir)
        layout.make()
        with FolderLock(layout) as lock:
            lock.acquire(say=log.info)
            clean_run(layout)
            convert_days(layout, lock)
            if options.demo:
                fill_demo(layout, lock)
            return _run(options, config, layout, lock)
    except ConfigError as error:
        log.error("%s", error)
        return EXIT_USAGE
    except (StorageError, PortTaken) as error:
        log.error("%s", error)
        return EXIT_INFRASTRUCTURE


def configure(options: UpOptions) -> Config:
    """Load the configuration and lay the command line's options over it.

    Raises:
        ConfigError: it cannot be used.
    """
    config = load_config(find_file(options.config), env=os.environ, data_dir=options.data)
    gateway = {"host": options.host, "port": options.port, "workers": options.workers}
    console = {"port": options.console_port}
    own = {} if options.model_path is None else {"model_path": str(options.model_path.absolute()), "url": ""}
    config = msgspec.structs.replace(
        config,
        gateway=msgspec.structs.replace(
            config.gateway, **{k: v for k, v in gateway.items() if v is not None}
        ),
        console=msgspec.structs.replace(
            config.console, **{k: v for k, v in console.items() if v is not None}
        ),
        own=msgspec.structs.replace(config.own, **own),
    )
    if config.gateway.port == config.console.port:
        raise ConfigError(
            f"gateway and console cannot share port {config.gateway.port}; change one of the two"
        )
    return config


def listeners(config: Config) -> tuple[list[socket.socket], socket.socket]:
    """Open the sockets that the workers and the control process accept on.

    They stay open here too: while a worker is started again, its connections wait instead of being refused.

    Raises:
        PortTaken: with the port and the mend.
    """
    gateway, console = config.gateway, config.console
    workers = _listen(gateway.host, gateway.port, gateway.workers, "--port")
    try:
        return workers, _listen(console.host, console.port, 1, "--console-port")[0]
    except PortTaken:
        for listener in workers:
            listener.close()
        raise


def _listen(host: str, port: int, count: int, option: str) -> list[socket.socket]:
    try:
        return platform.listen(host, port, count)
    except OSError as error:
        raise PortTaken(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with "
            f"{option}, or stop what uses it"
        ) from error


def _run(options: UpOptions, config: Config, layout: Layout, lock: FolderLock) -> int:
    workers, console = listeners(config)

    def close_listeners() -> None:
        for listener in (*workers, console):
            listener.close()

    def child(kind: ChildKind, index: int = 0, listener: socket.socket | None = None) -> Child:
        fd = -1 if listener is None else listener.fileno()
        return Child(child_options(config, kind, index, fd), (lock.fd,) if fd < 0 else (lock.fd, fd))

    try:
        platform.title_process("trimtab: supervisor")
        platform.raise_open_files()
        children = [child("recorder"), child("control", 0, console)]
        children += [child("worker", i, listener) for i, listener in enumerate(workers, 1)]
        if config.telemetry.sinks:
            children.append(child("exporter"))
        wants_model = model_wish(config, layout)
        if wants_model is not None:
            children.append(child("model"))
        gateway = url_of(config.gateway.host, workers[0].getsockname()[1])
        admin = url_of(config.console.host, console.getsockname()[1])
        return Supervisor(
            layout,
            children,
            urls=(gateway, admin),
            wishes=Wishes(
                announce=lambda: log.info("%s", summary(config, gateway, sign_in_url(layout, admin))),
                wants_model=wants_model or (lambda: False),
                close_listeners=close_listeners,
                renewed=lambda: renewed(options, config),
            ),
        ).run()
    finally:
        close_listeners()


def fill_demo(layout: Layout, lock: FolderLock) -> None:
    """Fill the project `demo`, in a process of its own: what that loads, this one need not hold for ever.

    A demo that fails is said, and no reason not to start.
    """
    if _run_module("trimtab.serve.demo", layout, lock):
        log.error("the demo could not be filled; trimtab starts without it")


def convert_days(layout: Layout, lock: FolderLock) -> None:
    """Bring day files of an earlier format to the present one, in a process of its own; says how far it is.

    Raises:
        StorageError: that failed, for a reason that was said; what was converted before stays.
    """
    from trimtab.storage.sqlite import has_earlier_days

    if has_earlier_days(layout.calls) and _run_module("trimtab.serve.data", layout, lock):
        raise StorageError(
            "the calls recorded so far could not be brought to the present format; none is lost"
        )


def _run_module(name: str, layout: Layout, lock: FolderLock) -> int:
    """Run a module for the folder, whose lock it holds by inheriting it; return its exit status."""
    words = [sys.executable, "-m", name, str(layout.root)]
    return subprocess.run(words, stdin=subprocess.DEVNULL, pass_fds=(lock.fd,), check=False).returncode  # noqa: S603


def renewed(options: UpOptions, config: Config) -> ChildOptions:
    """Read the configuration again and return what a worker that joins now is to know.

    What belongs to the listening sockets and to other processes stays as it was at the start.

    Raises:
        ConfigError: it cannot be used.
    """
    found = configure(options)
    kept = config.gateway
    gateway = msgspec.structs.replace(found.gateway, host=kept.host, port=kept.port, workers=kept.workers)
    found = msgspec.structs.replace(
        found, gateway=gateway, console=config.console, own=config.own, data_dir=config.data_dir
    )
    return child_options(found, "worker", 0, -1)


def child_options(config: Config, kind: ChildKind, index: int, listener: int) -> ChildOptions:
    """Return what one child needs to know."""
    return ChildOptions(
        kind=kind,
        index=index,
        data_dir=str(config.data_dir),
        config=None if config.source is None else str(config.source),
        gateway=config.gateway,
        console=config.console,
        data=config.data,
        own=config.own,
        telemetry=config.telemetry,
        listener=listener,
    )


def model_wish(config: Config, layout: Layout) -> Callable[[], bool] | None:
    """Return what tells whether the own model's process is wanted now; None where there is never one."""
    if not config.own.enabled or config.own.url:
        return None
    prefix = f"{OWN}/"
    named = [m for release in config.releases.values() for m in (release.model, *release.fallbacks)]
    named += [f"{t.provider}/" for targets in config.targets.values() for t in targets]
    if not config.providers or any(model.startswith(prefix) for model in named):
        return lambda: True

    def wanted() -> bool:
        from trimtab.providers.own import is_wanted

        return is_wanted(layout.run)

    return wanted


def sign_in_url(layout: Layout, console: str) -> str:
    """Return where to sign in: on a terminal with the token, which a log that others read must not hold.

    The token stands in the fragment, which no browser sends to a server.
    """
    token = read_token(layout.run)
    if token is None or not sys.stderr.isatty():
        return f"{console}/sign-in (its token stands in {layout.run / 'admin.token'})"
    return f"{console}/sign-in#token={token}"


def summary(config: Config, gateway: str, console: str) -> str:
    """Return the few lines that a person wants to read once Trimtab runs."""
    answers = [f"{provider.name}/..." for provider in config.providers]
    if config.own.enabled:
        answers.append(
            f"{own_model(config.own)}" + ("" if config.providers else ", whatever model is asked for")
        )
    open_access = config.policy.open_access and is_loopback(config.gateway.host)
    door = "open to programs on this machine" if open_access else "with a key only: trimtab keys create"
    workers = "1 worker" if config.gateway.workers == 1 else f"{config.gateway.workers} workers"
    lines = (
        ("gateway", f"{gateway}/v1 ({workers}; {door})"),
        ("console", console),
        ("answers", ", ".join(answers) or "nothing: configure a provider"),
        ("data", str(config.data_dir)),
        ("settings", str(config.source or "no trimtab.toml: environment and defaults")),
    )
    return "Trimtab is up\n" + "\n".join(f"  {name:<10}{text}" for name, text in lines)
