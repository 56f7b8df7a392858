"""Errors for the user, and pydantic's validation errors as one sentence."""

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


MAX_SHOWN = 100
"""Characters of a value that a message shows."""


class ForeseenError(Exception):
    """A foreseeable error; the message states what was found, what was expected and what to do."""


class ModelError(ForeseenError, RuntimeError):
    """A synthesizer cannot be fitted, read or sampled; the message says why and what to do."""


def validation_message(error: "ValidationError") -> str:
    """Return the first problem that pydantic found, as one sentence.

    Parameters
    ----------
    error : pydantic.ValidationError
        What pydantic raised.

    Returns
    -------
    str
        The key, what was found and what was expected.
    """
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if not message[:2].isupper():  # not an abbreviation
        message = message[:1].lower() + message[1:]
    match first["type"]:
        case "missing":
            sentence = "this key is required"
        case "extra_forbidden":
            sentence = "there is no such key"
        case "union_tag_not_found":
            sentence = "the key `type` is required"
        case "union_tag_invalid":
            sentence = f"found type {first['ctx']['tag']!r}; expected one of {first['ctx']['expected_tags']}"
        case "value_error":
            sentence = message
        case "dict_type" | "model_type" | "model_attributes_type":
            sentence = f"found {_found(first['input'])}; expected keys and values"
        case "list_type" | "tuple_type":
            sentence = f"found {_found(first['input'])}; expected a list"
        case "too_short":
            ctx = first["ctx"]
            sentence = f"found {ctx['actual_length']} items; expected at least {ctx['min_length']}"
        case _:
            sentence = f"found {_found(first['input'])}: {message}"
    return f"{key}: {sentence}." if key else f"{sentence}."


def _found(value: object) -> str:
    """Return a value as a person writes it; of one that has parts, only what it is."""
    if isinstance(value, Mapping):
        return "keys and values"
    if isinstance(value, Sequence | Set) and not isinstance(value, str):
        return "a list"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
