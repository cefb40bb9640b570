"""The exceptions that a caller may want to catch; the command line prints each as one line."""


class UserError(ValueError):
    """A mistake in the request: one line that says what was expected, what came, and what to do.

    The command line prints the line and exits with 2. In Python it is a ValueError.
    """


class Failure(RuntimeError):
    """A run that ends although the request was valid: a full disk, damaged files, a loss that diverges.

    The command line prints its one line and exits with 1.
    """


class Diverged(Failure):
    """A loss or gradient that is no longer finite, or a loss that has grown far beyond its lowest value."""


class NotWritten(Failure):
    """A file that could not be written, most often because the disk is full; the previous version is still there."""
