"""The one exception for a user's mistake, and how its sentence shows values and suggests names."""

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "shown", "suggest", "unknown_name"]


# Of what is compared with the known names.
_LONGEST_NAME = 200


class UserError(ValueError):
    """A mistake of the user: one sentence with field, value and remedy.

    Verbs print it without a traceback and exit with code 2; library callers see a `ValueError`.
    """


def shown(value: object, most: int = 100) -> str:
    """Returns `repr(value)` for a sentence: on one line, and cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):
        # Python writes out no whole number of more than 4,300 digits, and no endless nesting.
        text = f"<{type(value).__name__} too long to print>"
    return text if len(text) <= most else f"{text[:most]}.."


def suggest(name: str, names: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the name nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(str(name)[:_LONGEST_NAME], list(names), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown_name(field: str, name: str, names: Iterable[str]) -> UserError:
    """Returns the error for a name that is not among `names`, suggesting the nearest."""
    names = list(names)
    hint = suggest(name, names) or f"; choose one of: {', '.join(names)}."
    return UserError(f"{field}={shown(name)} is not known{hint}")
