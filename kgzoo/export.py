"""Export a run, or a model that was saved, as a SavedModel with sampling signatures.

python -m kgzoo.export runs/smmd_digits                      -> export/smmd_digits/<version>/
python -m kgzoo.export runs/smmd_digits --to=models --name=digits --checkpoint=best
python -m kgzoo.export mine.keras --to=models                -> models/mine/<version>/
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
    flags.DEFINE_string("name", None, "model name [that of the folder or file]", flag_values=values)
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
        raise UserError(f"{len(positional)} runs are given; give one run folder or .keras file.")
    if values["checkpoint"].value not in ("newest", "best"):
        raise UserError(
            f"--checkpoint={values['checkpoint'].value} is not known; choose newest or best."
        )
    given, root = (Path(each).expanduser() for each in (positional[0], values["to"].value))
    cli.quiet_tensorflow()
    from kgzoo import serving

    if given.suffix == ".keras":
        path, step = _export_file(given, root, values["name"].value)
    else:
        path, step = _export_run(given, root, values["name"].value, values["checkpoint"].value)
    print(f"Exported step {step} to {path}\n{serving.serving_command(path)}")
    return 0


def _export_file(file: Path, root: Path, name: str | None) -> tuple[Path, int]:
    from kgzoo import results, zoo

    model = zoo.load(file)
    return results.export_file(model, root, name or file.stem), model.steps_done


def _export_run(workdir: Path, root: Path, name: str | None, checkpoint: str) -> tuple[Path, int]:
    from kgzoo import results
    from kgzoo.training import run_folder

    model, recorded, step = run_folder.load_run(workdir, checkpoint)
    scores = _scores(workdir, step)
    path = results.export_run(
        model,
        recorded["config"],
        recorded["data"],
        scores,
        root,
        name or workdir.resolve().name,
        recorded.get("command", ""),
        run_folder.read_init_from(workdir),
    )
    return path, step


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
