"""Command lines: absl flags with one sentence and exit code 2 for every mistake.

absl exits with 1 on a wrong flag and prints usage over several lines; `run` turns all of that, and
every `UserError`, into one sentence. Nothing here imports TensorFlow.
"""

import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence

from absl import flags, logging

from kgzoo import outside
from kgzoo.errors import UserError, suggest

__all__ = ["Overrides", "help_text", "main", "parse", "quiet_tensorflow", "run"]

Overrides = list[tuple[str, str]]
# Of the console script: what each does; `train` is the module `main`.
_VERBS = {
    "train": "train a method, score it, export it",
    "evaluate": "score a run, an export or a folder of images; draw what a run has learned",
    "export": "export a run again",
    "reproduce": "re-run a figure or table of a paper",
    "report": "one HTML page about one or several runs",
}
_LONGEST_WORD = 1000
_CHOOSE = "; choose train, evaluate, export, reproduce or report."


def parse(
    argv: Sequence[str], values: flags.FlagValues, allow_config: bool = False
) -> tuple[list[str], str | None, Overrides]:
    """Parses `argv[1:]` into `values`.

    Args:
        argv: the program's name and its arguments.
        values: flags as defined by the verb.
        allow_config: whether `--config=card.py:arg` and `--config.field=value` are understood.

    Returns:
        Positional arguments, the run card or None, and the overrides in order.

    Raises:
        UserError: on any mistake.
    """
    card, overrides, rest = _split_config(argv[1:]) if allow_config else (None, [], argv[1:])
    try:
        positional = values([argv[0], *rest])[1:]
    except flags.UnrecognizedFlagError as error:
        known = [*values, "config"] if allow_config else list(values)
        name = error.flagname
        hint = suggest(name, known) or "; --help lists the flags."
        raise UserError(f"--{name} is not a flag{hint}") from None
    except flags.IllegalFlagValueError as error:
        raise UserError(_wrong_value(str(error), values)) from None
    except RecursionError:
        # absl looks for the nearest flag letter by letter.
        raise UserError("a flag has a name of thousands of letters; --help lists them.") from None
    except UnicodeError:
        # absl reads further flags from the file of --flagfile.
        raise UserError("--flagfile is no text in UTF-8; give another file.") from None
    # ValueError: absl's own of `--nojson=value`.
    except (flags.Error, ValueError) as error:
        message = " ".join(str(error).split())
        raise UserError(f"{message}; --help lists the flags.") from None
    return positional, card, overrides


def _wrong_value(said: str, values: flags.FlagValues) -> str:
    """Turns what absl says of a value that does not fit its flag into a sentence."""
    typed = re.match(r"flag --(?:no)?(\w+?)=(.*?): ", said, re.DOTALL)
    if typed is None or typed[1] not in values:
        return f"{' '.join(said.split())}; --help lists the flags."
    wanted = values[typed[1]].parser.syntactic_help or "true or false"
    wanted = wanted.replace("an integer", "a whole number").replace("integer", "whole number")
    return f"--{typed[1]}={typed[2]} does not fit; give {wanted}."


def _split_config(args: Sequence[str]) -> tuple[str | None, Overrides, list[str]]:
    card, overrides, rest = None, [], []
    args = list(args)
    while args:
        arg = args.pop(0)
        if arg == "--":
            rest += [arg, *args]
            break
        body = arg[2:] if arg.startswith("--") else arg[1:] if arg.startswith("-") else ""
        name, equals, value = body.partition("=")
        if name != "config" and not name.startswith("config."):
            rest.append(arg)
            continue
        if not equals:
            if not args:
                raise UserError(f"--{name} has no value; write --{name}=value.")
            value = args.pop(0)
        if not value and name == "config":
            raise UserError("--config is empty; give a run card or leave the flag out.")
        if name == "config":
            card = value
        else:
            overrides.append((name.removeprefix("config."), value))
    return card, overrides, rest


def help_text(doc: str, values: flags.FlagValues) -> str:
    """Returns a verb's docstring and its flags, for `--help`."""
    width = max(len(name) for name in values)
    lines = [f"  --{name:<{width}}  {values[name].help}" for name in values if len(name) > 1]
    return "\n".join([doc.strip(), "", "Flags:", *lines])


def run(verb: Callable[[list[str]], int | None], argv: Sequence[str] | None = None) -> None:
    """Runs a verb and exits: 0, or 2 after printing the sentence of a `UserError`."""
    argv = list(sys.argv if argv is None else argv)
    try:
        if outside.files():
            # A method's file imports TensorFlow, whenever the catalogue asks for it.
            quiet_tensorflow()
        code = verb(argv) or 0
    except UserError as error:
        print(f"kgzoo: {_plain(str(error))}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("kgzoo: interrupted.", file=sys.stderr)
        code = 128 + signal.SIGINT
    except BrokenPipeError:
        code = 128 + signal.SIGPIPE
    except OSError as error:
        where = f" {_plain(str(error.filename))}" if error.filename else ""
        print(
            f"kgzoo: the file system refused{where} ({error.strerror or error}); make room or "
            "choose another folder, then type the same command.",
            file=sys.stderr,
        )
        code = 1
    except RuntimeError as error:
        # `expanduser` of an unknown user.
        if "home directory" not in str(error):
            raise
        print(f"kgzoo: {error}; write the path without ~.", file=sys.stderr)
        code = 2
    sys.stdout.flush()
    sys.exit(code)


def _plain(text: str) -> str:
    """Returns text on one line, words that are longer than any file's name being cut."""
    words = (word if len(word) <= _LONGEST_WORD else f"{word[:80]}.." for word in text.split())
    return " ".join(words)


def quiet_tensorflow() -> None:
    """Imports TensorFlow without the lines that it logs about GPUs and oneDNN while it starts.

    They come from C++ before any log level counts. When the import fails they are shown.
    """
    # The same for harmless complaints of its graph optimizer, and of data sets about themselves.
    logging.set_verbosity(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            sink.seek(0)
            os.write(saved, sink.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def main() -> None:
    """The console script: `kgzoo train|evaluate|export|... ...`; without a verb it lists them."""
    import importlib

    verb, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if verb in ("", "help", "-h", "--help"):
        lines = [f"  kgzoo {name:<10} {text}" for name, text in _VERBS.items()]
        print("\n".join(["Verbs, each with --help:", *lines, "Try it: kgzoo train"]))
        return
    if verb not in _VERBS:
        flag = verb.startswith("-")
        hint = "" if flag else suggest(verb, _VERBS)
        wrong = f"there is no verb before {verb}" if flag else f"{verb} is not a verb"
        print(f"kgzoo: {wrong}{hint or _CHOOSE}", file=sys.stderr)
        sys.exit(2)
    module = importlib.import_module(f"kgzoo.{'main' if verb == 'train' else verb}")
    run(module.main, [sys.argv[0], *rest])
