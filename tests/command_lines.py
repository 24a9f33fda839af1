"""Runs `kgzoo` command lines, several in one process or one that is interrupted at given steps.

  python tests/command_lines.py many results.json < lines.json
  python tests/command_lines.py interrupt SIGTERM:4,SIGKILL:8 --method=hinge --steps=12 ...

`lines.json` is a list of argument lists of kgzoo.main, or of another verb whose name stands before
them; results.json has for each of them its exit code, what it wrote, and whether TensorFlow was
loaded by then. An interruption comes from within,
right after a given step's line in metrics.jsonl: so the same step every time. After each but the
last the line is run again, as a user would.
"""

import contextlib
import importlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import traceback

__all__ = ["environment", "interrupted", "many"]

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_VERBS = ("evaluate", "export")


def environment() -> dict[str, str]:
    """Returns the environment in which a program finds this clone's kgzoo."""
    return {**os.environ, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def many(lines: list[list[str]], folder: pathlib.Path) -> list[dict]:
    """Runs command lines in one new process, in `folder`; returns their results."""
    results = folder / "results.json"
    done = subprocess.run(
        [sys.executable, __file__, "many", str(results)],
        input=json.dumps([list(map(str, line)) for line in lines]),
        capture_output=True,
        text=True,
        env=environment(),
        cwd=folder,
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, lines[-1]))}:\n{done.stderr[-4000:]}")
    return json.loads(results.read_text())


def interrupted(when: str, line: list[str]) -> subprocess.CompletedProcess:
    """Runs a command line of kgzoo.main that is interrupted; its last word is the last signal's."""
    return subprocess.run(
        [sys.executable, __file__, "interrupt", when, *map(str, line)],
        capture_output=True,
        text=True,
        env=environment(),
    )


def _run(line: list[str]) -> dict:
    from kgzoo import cli

    name, words = (line[0], line[1:]) if line[:1] and line[0] in _VERBS else ("main", line)
    verb = importlib.import_module(f"kgzoo.{name}")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.run(verb.main, ["kgzoo", *words])
        except SystemExit as end:
            code = end.code
        except Exception:
            code = "traceback"
            traceback.print_exc()
    loaded = "tensorflow" in sys.modules
    return {"code": code, "out": out.getvalue(), "err": err.getvalue(), "tensorflow": loaded}


def _interrupt(when: str, line: list[str]) -> None:
    from kgzoo import cli, main
    from kgzoo.training.summaries import Summaries

    real = Summaries.scalars
    for each in when.split(","):
        name, _, step = each.partition(":")

        def scalars(summaries, at, values, name=name, step=int(step)):
            real(summaries, at, values)
            if at == step:
                if name == "SIGKILL":
                    # The line that it was about to write.
                    with open(summaries.workdir / "metrics.jsonl", "a") as file:
                        file.write(f'{{"step": {step + 1}, "critic_lo')
                os.kill(os.getpid(), signal.Signals[name])

        Summaries.scalars = scalars
        try:
            cli.run(main.main, ["kgzoo", *line])
        except SystemExit as end:
            print(f"{name}: exit code {end.code}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "many":
        results = [_run(line) for line in json.load(sys.stdin)]
        pathlib.Path(sys.argv[2]).write_text(json.dumps(results))
    else:
        _interrupt(sys.argv[2], sys.argv[3:])
