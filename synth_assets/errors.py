"""The family of errors that were foreseen."""


class ForeseenError(Exception):
    """Something that can go wrong did; the message says what was found, what was expected and what to do."""
