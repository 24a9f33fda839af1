"""Runs one worker of `kgzoo.main --strategy=multi_worker`, which may be sent a signal at a step.

  TF_CONFIG=... python tests/multi_workers.py SIGKILL:3 --method=mmd_rep --steps=6 ...

The signal comes from within, right after a step's record: so at the same step every time. An empty
first argument sends none. Networks are made wide awake, see `contract.wake`.
"""

import os
import signal
import sys

from kgzoo import cli

# Before all that imports TensorFlow: what it logs would hide what a worker says.
cli.quiet_tensorflow()

import contract  # noqa: E402
from kgzoo import main  # noqa: E402
from kgzoo.training import loop, run_folder  # noqa: E402

__all__ = []


def _awake(build):
    def built(*args, **kwargs):
        model = build(*args, **kwargs)
        contract.wake(model)
        return model

    return built


def _interrupted(record, number, step):
    def recorded(run, logs):
        record(run, logs)
        if run.step == step:
            os.kill(os.getpid(), number)

    return recorded


if __name__ == "__main__":
    run_folder.build_model = _awake(run_folder.build_model)
    name, _, at = sys.argv[1].partition(":")
    if name:
        loop._Run.record = _interrupted(loop._Run.record, signal.Signals[name], int(at))
    cli.run(main.main, ["kgzoo", *sys.argv[2:]])
