"""What a user can get wrong: one exception and one warning for the whole package."""


class SkipwiseError(ValueError):
    """A mistake in what the caller gave: the message says what, what it got, what is allowed, what to do next.

    The command line prints the message alone and leaves with exit code 2.
    """


class SkipwiseWarning(UserWarning):
    """Something a user should know about although the work went on (silence, a file that breaks off, ...)."""
