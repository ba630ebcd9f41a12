"""The one error a user is meant to read: what was wanted, what was found, what to do — in one line."""


class UserError(Exception):
    """Bad input or a failed run. The command line prints it without a traceback and exits with 2."""

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


class NotApplicable(UserError):
    """What was asked for does not exist for this upstream, though nothing is wrong with either."""
