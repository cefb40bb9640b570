"""The errors that the command line prints as one line."""


class UserError(ValueError):
    """A mistake in what was asked for: one line that says what was expected, what came, and what to do.

    The command line prints it as it is and exits with 2; from Python it is a ValueError.
    """


class Failure(RuntimeError):
    """What ends a run although nothing wrong was asked for: a full disk, damaged files, a loss that diverges.

    One line; the command line exits with 1.
    """


class Diverged(Failure):
    """The loss or its gradient stopped being finite, or the loss grew out of all proportion."""


class NotWritten(Failure):
    """Something could not be written, most often for want of room; what was there before is there still."""
