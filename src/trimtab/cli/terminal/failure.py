"""How a command says that it could not do its work."""


class CommandFailed(Exception):
    """Ends a command: the message says what was wrong, `mend` what to do, `exit_code` which kind it is."""

    def __init__(self, message: str, *, mend: str = "", exit_code: int = 3) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
        self.exit_code = exit_code
