"""Fuzzing of flags, fields, run cards and the other verbs' arguments: no TensorFlow is needed."""

import contextlib
import io
import math
import os
import pathlib
import tempfile
import unittest
from unittest import mock

from hypothesis import strategies as st

import fuzzing
from kgzoo import catalog, cli, config, evaluate, export, main, report, reproduce
from kgzoo.errors import UserError
from kgzoo.fields import FIELDS

_HUGE = 10**400
_TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        (
            *(
                "",
                " ",
                "nan",
                "inf",
                "-inf",
                "1e400",
                "1e999",
                "-1",
                "-0.0",
                "0x10",
                "1_000",
                "1__0",
            ),
            *("true", "True", "yes", "None", "()", "(1,)", "(1,1)", "(0,255)", "[1,2]", "{1:2}"),
            *("'12'", "b'ab'", "(1)(2)", "1 if 2 else 3", "__import__('os')", "lambda: 1", "1+1"),
            *("(" * 300, "-" * 5000 + "1", "9" * 5000, "[" * 200 + "]" * 200, "a" * 5000),
            *(
                "\u0661\u0662",
                "\U0001f600",
                "a\nb",
                "a\0b",
                "\ud800",
                "%s{}",
                "--steps=1",
                "=",
                "~",
            ),
        )
    ),
)
_VALUES = st.one_of(
    _TEXTS,
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from((_HUGE, -_HUGE, 10**5000, math.nan, 1e300, 1e-300, 5e-324)),
    st.sampled_from((None, True, False, (), (1.0,), [1, 2], ("a",), {}, {1}, b"x", object(), 1j)),
    st.sampled_from(((0.0, 1.0), (math.nan, 1.0), (_HUGE, 1), (1e-300,), (1e300,), (1,) * 500)),
)


@st.composite
def _fitting(draw):
    """A field with a value near the bounds that `fields` states, or a known choice."""
    name = draw(st.sampled_from(sorted(set(FIELDS) - {"method", "dataset"})))
    default = FIELDS[name][0]
    if name in config.CHOICES:
        value = draw(st.sampled_from(config.CHOICES[name]))
    elif isinstance(default, (bool, str, tuple)):
        value = default
    else:
        value = type(default)(draw(st.sampled_from((default, 0, 1, 2, 10, 1000, 0.5, 1e6))))
    return name, draw(st.sampled_from((value, str(value))))


_PAIRS = st.one_of(
    *(_fitting(),) * 2, st.tuples(st.one_of(st.sampled_from(sorted(FIELDS)), _TEXTS), _VALUES)
)


def _complaint_of_config(resolved):
    """A config that is let through holds numbers a float32 and an int64 can hold, of its types."""
    for name, (default, _) in FIELDS.items():
        value = resolved[name]
        if type(value) is not type(default):
            return f"{name} is {type(value).__name__}"
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if isinstance(number, float) and not abs(number) <= 1e30:
                return f"{name}={number}"
            if isinstance(number, int) and abs(number) > 2**62:
                return f"{name} of {number.bit_length()} bits"
        if isinstance(value, str) and "\0" in value:
            return f"{name} holds a null"
    return None


def _check_fields(pairs):
    return fuzzing.verdict(lambda: config.compose(overrides=pairs), _complaint_of_config)


def _check_field(pair):
    """Of one field alone the sentence must name it."""
    name, value = pair
    return fuzzing.verdict(
        lambda: config.compose(overrides=[(name, value)]),
        _complaint_of_config,
        (name if name in FIELDS else "--config.",),
    )


def _run_verb(verb, argv, stubs):
    """Runs a verb's command line, with what starts TensorFlow left out; returns code and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        for target, name in stubs:
            stack.enter_context(mock.patch.object(target, name, return_value=0))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            cli.run(verb, ["kgzoo", *argv])
        except SystemExit as end:
            return end.code, err.getvalue()
    raise fuzzing.Defect("the verb did not end")


def _check_line(verb, argv, stubs=()):
    try:
        code, err = _run_verb(verb, argv, stubs)
    except fuzzing.Defect:
        raise
    except Exception as error:
        raise fuzzing.Defect(f"{type(error).__name__}: {error}") from error
    if code == 0:
        return fuzzing.WORKED
    lines = err.encode("utf-8", "backslashreplace").decode().splitlines()
    if code not in (1, 2) or len(lines) != 1 or not lines[0].startswith("kgzoo: "):
        raise fuzzing.Defect(f"exit code {code} with {err!r}")
    complaint = fuzzing.sentence(lines[0], ())
    if complaint:
        raise fuzzing.Defect(f"{complaint}: {err}")
    return fuzzing.REFUSED


# No null: no command line can hold one.
_TYPED = _TEXTS.filter(lambda text: "\0" not in text)
_FLAGS = (
    *("--method", "--dataset", "--data_dir", "--workdir", "--steps", "--seed", "--strategy"),
    *(
        "--config",
        "--list_methods",
        "--help",
        "--helpful",
        "--flagfile",
        "--nosteps",
        "-h",
        "--",
        "-",
    ),
)
_GOOD_LINE = st.sampled_from(
    (
        *("--method=hinge", "--dataset=ring2d", "--steps=3", "--seed=5", "--strategy=one"),
        *("--config.critic_steps=2", "--config.kernel=linear", "--config=smmd_table1a.py:quick"),
        *("--workdir=/tmp/x", "--nolist_methods"),
    )
)


@st.composite
def _lines(draw, flags=_FLAGS, good=_GOOD_LINE, most=3):
    """Command lines, flags given twice among them."""
    words = draw(st.lists(good, max_size=most))
    for _ in range(draw(st.integers(0, 2))):
        flag = draw(st.sampled_from(flags))
        if flag == "--dataset":
            # Any other good name is looked up among all that TFDS knows, which takes seconds.
            value = draw(
                st.sampled_from(("", "ring2d", "RING", "image_folder:", "a b", "a" * 5000))
            )
        else:
            value = draw(_TYPED)
        words += draw(st.sampled_from(([f"{flag}={value}"], [flag, value], [flag])))
    if draw(st.integers(0, 3)) == 0:
        name, value = draw(_PAIRS)
        words.append(f"--config.{name}={str(value)[:5000] if value != 10**5000 else 9}")
    return [word for word in words if "\0" not in word]


def _check_main(argv):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return _check_line(main.main, argv, ((main, "_train"),))


_PATHS = ("/nonexistent", "", ".", "~nobody_at_all/x", "a" * 5000, "/dev/null", "\ud800", "\u00e4")
_EVALUATE = (
    *("--dataset", "--data_dir", "--split", "--extractor", "--checkpoint", "--out", "--gallery"),
    *("--num_samples", "--ais_points", "--seed", "--json", "--nojson", "--help"),
)


def _paths_and(flags):
    return _lines(flags, st.sampled_from((*(".",) * 12, *_PATHS)), 1)


def _check_evaluate(argv):
    parts = ((evaluate, "_score"), (evaluate, "_table"), (evaluate, "_train_extractor"))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return _check_line(evaluate.main, argv, parts)


def _check_export(argv):
    # What comes next starts TensorFlow.
    stop = mock.patch.object(cli, "quiet_tensorflow", side_effect=UserError("stop; give another."))
    with stop, tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return _check_line(export.main, argv)


def _check_report(argv):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return _check_line(report.main, argv)


def _check_reproduce(argv):
    return _check_line(reproduce.main, argv, ((reproduce, "_reproduce"),))


_CARDS = st.sampled_from(
    (
        "",
        "def get_config(argument):\n    return {'method': 'hinge'}",
        "def get_config(argument):\n    return {'method': 3}",
        "def get_config(argument):\n    return {'method': ['hinge']}",
        "def get_config(argument):\n    return {3: 4}",
        "def get_config(argument):\n    return {'a' * 10**6: 4}",
        "def get_config(argument):\n    return {'a\\nb': 4}",
        "def get_config(argument):\n    return {'steps': 10**400}",
        "def get_config(argument):\n    return {'steps': float('nan')}",
        "def get_config(argument):\n    return {'bandwidths': '12'}",
        "def get_config(argument):\n    return {'data_dir': __import__('pathlib').Path('x')}",
        "def get_config(argument):\n    return {'data_dir': None}",
        "def get_config(argument):\n    return {'dataset': 'ring2d', 'steps': argument}",
        "def get_config(argument):\n    return [1, 2]",
        "def get_config(argument):\n    return None",
        "def get_config():\n    return {}",
        "def get_config(argument):\n    raise SystemExit(0)",
        "def get_config(argument):\n    return get_config(argument)",
        "def get_config(argument):\n    raise KeyError('a\\nb' * 1000)",
        "import nowhere_to_be_found",
        "raise SystemExit",
        "def get_config(",
        "get_config = 3",
        "\0",
        b"\xff\xfe\x00",
    )
)
_CARD_CASES = st.tuples(_CARDS, st.sampled_from(("", ":3", ":quick", ":x" * 5000, ":\n", ":\0")))


def _check_card(case):
    text, argument = case
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "card.py")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return fuzzing.verdict(
            lambda: config.compose(card=f"{path}{argument}"), _complaint_of_config
        )


def _check_shipped(case):
    card, argument = case
    return fuzzing.verdict(
        lambda: config.compose(card=f"configs/{card}:{argument}"), _complaint_of_config
    )


@st.composite
def _shipped(draw):
    cards = sorted(path.name for path in config.cards_folder().glob("*.py"))
    card = draw(st.sampled_from((*cards, "nowhere.py", "a" * 5000, "")))
    words = (*catalog.names(), "quick", "cifar10", "mnist", "", "quick,quick")
    known = st.lists(st.sampled_from(words), max_size=3).map(",".join)
    return card, draw(st.one_of(known, known, _TEXTS))


def _check_choice(case):
    method, dataset = case
    return fuzzing.verdict(lambda: config.compose(method, dataset), _complaint_of_config)


_NAMES = st.one_of(st.sampled_from((None, "hinge", "smmd", "ring2d", "mnist")), _VALUES)

TARGETS = (
    fuzzing.Target("one field", _PAIRS, _check_field, 6.0),
    fuzzing.Target("several fields", st.lists(_PAIRS, max_size=4), _check_fields, 2.0),
    fuzzing.Target("method and data set", st.tuples(_NAMES, _NAMES), _check_choice),
    fuzzing.Target("command lines of main", _lines(), _check_main, 2.0),
    fuzzing.Target("command lines of evaluate", _paths_and(_EVALUATE), _check_evaluate),
    fuzzing.Target(
        "command lines of export", _paths_and(("--to", "--name", "--checkpoint")), _check_export
    ),
    fuzzing.Target("command lines of report", _paths_and(("--to", "--title")), _check_report),
    fuzzing.Target(
        "command lines of reproduce",
        _lines(
            (
                *(f"--{name}" for name in (*reproduce._TEXTS, *reproduce._NUMBERS)),
                "--to",
                "--quick",
            ),
            st.sampled_from(("dirac", "ring", "", "dirca", "--quick")),
        ),
        _check_reproduce,
    ),
    fuzzing.Target("run cards", _CARD_CASES, _check_card, 2.0),
    fuzzing.Target("arguments of run cards", _shipped(), _check_shipped, 2.0),
)


class FuzzTest(unittest.TestCase):
    def test_works_or_refuses(self):
        for target in TARGETS:
            with self.subTest(target.name):
                counts = fuzzing.run(target, fuzzing.examples())
                self.assertGreater(counts.refused, 0)
                # These two need a run.
                if target.name not in ("command lines of export", "command lines of report"):
                    self.assertGreater(counts.worked, 0)

    def test_every_number_has_bounds(self):
        """Each field alone, at what no training could count to or compute with."""
        for name, (default, _) in FIELDS.items():
            if type(default) not in (int, float):
                continue
            values = (10**400, -(10**400), 2**101, 1e300, math.nan, math.inf, "1e400", None, "", ())
            for value in values:
                with self.subTest(name, value=str(value)[:20] if value != 10**400 else "huge"):
                    with self.assertRaises(UserError) as caught:
                        config.compose(overrides=[(name, value)])
                    self.assertIsNone(fuzzing.sentence(str(caught.exception), (name,)))

    def test_a_text_is_a_text(self):
        for value in (None, 3, ("a",), b"x", "a\0b"):
            with self.assertRaisesRegex(UserError, "data_dir=.* give text"):
                config.compose(overrides={"data_dir": value})
        path = pathlib.Path("some", "where")
        self.assertEqual(config.compose(overrides={"data_dir": path}).data_dir, os.fspath(path))

    def test_python_warns_of_nothing(self):
        code, err = _run_verb(main.main, ["--config.steps=(1)(2)"], ((main, "_train"),))
        self.assertEqual((code, err.count("\n")), (2, 1))


if __name__ == "__main__":
    unittest.main()
