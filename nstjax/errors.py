"""The one exception that means "the user can mend this"."""


class UserError(ValueError):
    """A mistake in what was asked for: one line that says what was expected, what came, and what to do.

    The command line prints it as it is and exits with 2; from Python it is a ValueError.
    """
