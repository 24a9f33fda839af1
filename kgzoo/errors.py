"""The one exception for a user's mistake, and the sentence that suggests the right name."""

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "suggest", "unknown_name"]


class UserError(ValueError):
    """A mistake of the user: one sentence with field, value and remedy.

    Verbs print it without a traceback and exit with code 2; library callers see a `ValueError`.
    """


def suggest(name: str, names: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the name nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown_name(field: str, name: str, names: Iterable[str]) -> UserError:
    """Returns the error for a name that is not among `names`, suggesting the nearest."""
    names = list(names)
    hint = suggest(name, names) or f"; choose one of: {', '.join(names)}."
    return UserError(f"{field}={name!r} is not known{hint}")
