"""What the fuzz tests and benchmarks/fuzz.py share: targets, the verdict on one case, the counts.

A target draws cases and checks each of them: it works, with a right answer of the right shape and
type, or it is refused with one sentence that says what to do. All else is a defect. Tests stop at
the first defect, made small by hypothesis; the script counts them all.

  KGZOO_FUZZ=thorough python -m pytest tests/fuzz_kernels_test.py      20 times as many cases
"""

import collections
import dataclasses
import os
import re
import warnings
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
from hypothesis import strategies as st

from kgzoo.errors import UserError

__all__ = ["Counts", "Defect", "Target", "arrays", "examples", "odd", "run", "sentence", "verdict"]

WORKED, REFUSED = "worked", "refused"
_EXAMPLES = {"ci": 16, "thorough": 320}
_REMEDY = re.compile(
    r"\b(give|choose|use|write|set|name|build|leave|raise|scale|extract|draw|score|test|did you "
    r"mean|drop|keep|lists|resize|convert|train|needs|restore|delete|type|run|begin|must be)\b"
)
_LONGEST_SENTENCE = 1200


class Defect(AssertionError):
    """A case that neither works nor is refused with a sentence."""


@dataclasses.dataclass(frozen=True)
class Target:
    """One function, or family of functions, under fuzzing.

    Attributes:
        name: of the counts.
        cases: what is drawn.
        check: returns `worked` or `refused` for a case, or raises a `Defect`.
        share: of the usual number of cases, for targets that take long.
    """

    name: str
    cases: st.SearchStrategy
    check: Callable[[Any], str]
    share: float = 1.0


@dataclasses.dataclass
class Counts:
    """What became of a target's cases; `defects` has each kind once, with how often."""

    worked: int = 0
    refused: int = 0
    defects: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    @property
    def cases(self) -> int:
        return self.worked + self.refused + sum(self.defects.values())


def examples() -> int:
    """Returns how many cases a test draws of each target."""
    return _EXAMPLES[os.environ.get("KGZOO_FUZZ", "ci")]


def run(target: Target, number: int, seed: int | None = None) -> Counts:
    """Draws cases of a target.

    Args:
        target: what to run.
        number: of cases, before the target's share.
        seed: None for the same cases each time, ending with a `Defect` of the smallest that hurts;
            with a seed defects are counted.
    """
    counts = Counts()

    def one(case):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcome = target.check(case)
        except Defect as defect:
            if seed is None:
                raise
            counts.defects[_kind(defect)] += 1
            return
        setattr(counts, outcome, getattr(counts, outcome) + 1)

    phases = [hypothesis.Phase.generate]
    drawn = hypothesis.given(target.cases)(one)
    drawn = hypothesis.settings(
        max_examples=max(8, int(target.share * number)),
        deadline=None,
        database=None,
        derandomize=seed is None,
        phases=phases if seed is not None else [*phases, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet if seed is not None else hypothesis.Verbosity.normal,
    )(drawn)
    if seed is not None:
        drawn = hypothesis.seed(seed)(drawn)
    drawn()
    return counts


def _kind(defect: Defect) -> str:
    return " ".join(str(defect).split())[:300]


def verdict(
    call: Callable[[], Any], right: Callable[[Any], str | None], words: tuple[str, ...] = ()
) -> str:
    """Returns `worked` or `refused`.

    Args:
        call: makes the answer.
        right: returns what is wrong with the answer, or None.
        words: that a refusal must hold one of, where there are any.

    Raises:
        Defect: another exception than a UserError, a sentence that is none, or a wrong answer.
    """
    try:
        answer = call()
    except UserError as error:
        complaint = sentence(str(error), words)
        if complaint:
            raise Defect(f"{complaint}: {error}") from error
        return REFUSED
    except Exception as error:
        raise Defect(f"{type(error).__name__}: {error}") from error
    complaint = right(answer)
    if complaint:
        raise Defect(complaint)
    return WORKED


def sentence(text: str, words: tuple[str, ...] = ()) -> str | None:
    """Returns what is wrong with a refusal, or None: one line, a remedy, one of the words."""
    if "\n" in text:
        return "more than a line"
    if len(text) > _LONGEST_SENTENCE:
        return "too long"
    if not text.endswith((".", "?", ")")):
        return "no end"
    if not _REMEDY.search(text):
        return "no remedy"
    if words and not any(word in text for word in words):
        return f"none of {words} is named"
    return None


# Of arrays that are none of numbers, or not the ones that fit.
_NO_NUMBERS = (
    *(None, "abc", [[1.0, 2.0], [3.0]], [["a", "b"]], {"x": 1}, object(), [[None, 1.0]], b"abc"),
    *(np.array([[1j, 2.0]]), np.array([["a", "b"]]), np.array([[object()]]), [[10**400]]),
    np.array([["2020-01-01"]], "datetime64[D]"),
)
_DTYPES = ("float32", "float64", "float16", "int32", "int64", "uint8", "bool")
_FILLS = (
    *("normal", "normal", "large", "small", "zeros", "duplicates", "constant", "one_far"),
    *("1e30", "1e4", "1e8", "nan", "inf"),
)


def odd() -> st.SearchStrategy:
    """Values that are no array of numbers."""
    return st.sampled_from(_NO_NUMBERS)


@st.composite
def arrays(draw, shapes: st.SearchStrategy, fills=_FILLS, dtypes=_DTYPES) -> np.ndarray:
    """Arrays of a drawn shape; filled as one of `fills` says."""
    shape = draw(shapes)
    dtype, fill = draw(st.sampled_from(dtypes)), draw(st.sampled_from(fills))
    random = np.random.RandomState(draw(st.integers(0, 999)))
    values = np.asarray(random.standard_normal(shape))
    with np.errstate(all="ignore"):
        if fill == "duplicates" and len(shape):
            values = values[np.zeros(shape[0], int)] if shape[0] else values
        elif fill in ("zeros", "constant"):
            values = np.full(shape, 0.0 if fill == "zeros" else 3.0)
        elif fill in ("nan", "inf") and values.size:
            values.flat[0] = {"nan": np.nan, "inf": np.inf}[fill]
        elif fill == "one_far" and values.size:
            values.flat[0] = 1e9
        else:
            scales = {"large": 100.0, "small": 1e-6, "1e30": 1e30, "1e4": 1e4, "1e8": 1e8}
            values = values * scales.get(fill, 1.0)
        if dtype in ("int32", "int64", "uint8"):
            # What a cast of NaN or of a larger number gives differs between machines.
            values = np.clip(np.nan_to_num(values), -100, 100)
        if dtype == "float16":
            values = np.clip(values, -6e4, 6e4)
        return values.astype(dtype)
