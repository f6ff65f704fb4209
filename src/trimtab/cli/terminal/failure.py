"""How a command says that it could not do its work."""


class CommandFailed(Exception):
    """Ends a command: the message says what was wrong, `mend` what to do, `exit_code` which kind it is.

    `code` is the stable code of the error that a server answered with, where one did.
    """

    def __init__(
        self, message: str, *, mend: str = "", exit_code: int = 3, code: str = "command_failed"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
        self.exit_code = exit_code
        self.code = code
