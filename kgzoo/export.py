"""Export a run as a SavedModel with sampling signatures.

python -m kgzoo.export runs/smmd_digits                      -> export/smmd_digits/<version>/
python -m kgzoo.export runs/smmd_digits --to=models --name=digits --checkpoint=best
"""

import json
from pathlib import Path

from absl import flags

from kgzoo import cli
from kgzoo.errors import UserError

__all__ = ["main"]


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("to", "export", "folder of exports", flag_values=values)
    flags.DEFINE_string("name", None, "model name [the run folder's]", flag_values=values)
    flags.DEFINE_string("checkpoint", "newest", "newest or best", flag_values=values)
    flags.DEFINE_bool("help", False, "print this and leave", short_name="h", flag_values=values)
    return values


def main(argv: list[str]) -> int:
    """Runs the verb; returns the exit code.

    Raises:
        UserError: on a mistake in the command line, or a run that cannot be exported.
    """
    values = _flags()
    positional, _, _ = cli.parse(argv, values)
    if values["help"].value:
        print(cli.help_text(__doc__, values))
        return 0
    if len(positional) != 1:
        raise UserError(f"{len(positional)} run folders are given; give one.")
    if values["checkpoint"].value not in ("newest", "best"):
        raise UserError(
            f"--checkpoint={values['checkpoint'].value} is not known; choose newest or best."
        )
    workdir = Path(positional[0]).expanduser()
    cli.quiet_tensorflow()
    from kgzoo import results, serving
    from kgzoo.training import run_folder

    model, recorded, step = run_folder.load_run(workdir, values["checkpoint"].value)
    scores = _scores(workdir, step)
    path = results.export_run(
        model,
        recorded["config"],
        recorded["data"],
        scores,
        Path(values["to"].value).expanduser(),
        values["name"].value or workdir.resolve().name,
        recorded.get("command", ""),
        run_folder.read_init_from(workdir),
    )
    print(f"Exported step {step} to {path}\n{serving.serving_command(path)}")
    return 0


def _scores(workdir: Path, step: int) -> dict | None:
    """Returns scores.json when it speaks of this step."""
    path = workdir / "scores.json"
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return scores if isinstance(scores, dict) and scores.get("step") == step else None


if __name__ == "__main__":
    cli.run(main)
