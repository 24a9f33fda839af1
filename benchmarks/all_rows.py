"""Trains every row of the catalogue briefly and tells how far each came.

  python benchmarks/all_rows.py --to=runs/all_rows [--steps=300] [--methods=smmd,gcmmd]
                                [--dataset=mnist --data_dir=... --override=critic_steps=1 ...]

Without --dataset each row trains on its contract data (digits; a toy where it must) with that set's
own settings. Writes results.json (scores before and after, seconds, the last losses), one grid for
each row, and table.md. A row that is in results.json already is not trained again.
"""

import argparse
import json
import pathlib
import tempfile
import time

import keras
import numpy as np

from kgzoo import catalog, cli, config, data
from kgzoo.errors import UserError


def train(name: str, arguments: argparse.Namespace, folder: pathlib.Path) -> dict:
    """Trains one row; returns what happened."""
    from kgzoo import results
    from kgzoo.evaluation import pictures, score_card
    from kgzoo.training import loop, run_folder, runtime

    dataset = arguments.dataset or catalog.row(name).contract_data
    overrides = [tuple(item.split("=", 1)) for item in arguments.override]
    steps = str(arguments.steps)
    every = [("sample_every_steps", "0"), ("score_every_steps", "0"), ("log_every_steps", "10")]
    every += [("checkpoint_every_steps", steps), ("steps", steps)]
    settings = config.compose(name, dataset, None, [*every, *overrides])
    runtime.prepare(settings)
    load = {"data_dir": arguments.data_dir, "image_size": settings.image_size or None}
    source = data.load(dataset, "train", binarization=settings.binarization, **load)
    test = data.load(dataset, "test", **load)
    strategy = runtime.get_strategy("one")
    model = run_folder.build_model(settings, source.kind, source.shape, strategy)
    reference = score_card.prepare(test, None, settings.seed)
    untrained = results.score_model(model, reference, settings.num_samples, settings.seed)
    found = {"dataset": dataset, "steps": arguments.steps, "untrained_fid": untrained["fid"]}
    with tempfile.TemporaryDirectory() as scratch:
        start = time.monotonic()
        try:
            loop.train(model, source, reference, settings, pathlib.Path(scratch), strategy, "")
        except loop.Diverged as error:
            return {**found, "diverged": str(error)}
        found["seconds"] = round(time.monotonic() - start, 1)
        lines = (pathlib.Path(scratch) / "metrics.jsonl").read_text().splitlines()
    logs = [json.loads(line) for line in lines]
    finite = all(np.isfinite(v) for line in logs for v in line.values() if isinstance(v, float))
    card = results.score_model(model, reference, settings.num_samples, settings.seed)
    count = 64 if source.kind == "image" else 1000
    samples = model.sample(count, seed=settings.seed)
    points = None if source.kind == "image" else source.examples[:count]
    pictures.save_png(folder / f"{name}.png", pictures.picture(samples, source.kind, points))
    found |= {"finite": finite, "fid": card["fid"], "kid": card["kid"], "last": logs[-1]}
    return found


def _fid(value: dict) -> float:
    return value["value"]


def table(found: dict) -> str:
    """Returns the results as a table in Markdown."""
    lines = ["| `--method` | data | FID untrained | FID |", "|---|---|---|---|"]
    for name, row in found.items():
        if "diverged" in row:
            lines.append(f"| `{name}` | {row['dataset']} | | {row['diverged']} |")
            continue
        before, after = _fid(row["untrained_fid"]), _fid(row["fid"])
        lines.append(f"| `{name}` | {row['dataset']} | {before:.3g} | {after:.3g} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--methods", default="")
    parser.add_argument("--dataset", default="")
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--override", action="append", default=[])
    arguments = parser.parse_args()
    names = arguments.methods.split(",") if arguments.methods else catalog.names()
    cli.quiet_tensorflow()
    arguments.to.mkdir(parents=True, exist_ok=True)
    path = arguments.to / "results.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for name in names:
        if name in found:
            continue
        try:
            found[name] = train(name, arguments, arguments.to)
        except UserError as error:
            found[name] = {"dataset": arguments.dataset, "diverged": str(error)}
        keras.backend.clear_session()
        path.write_text(json.dumps(found, indent=2) + "\n")
        (arguments.to / "table.md").write_text(table(found))
        print(name, {k: v for k, v in found[name].items() if k not in ("last", "kid")}, flush=True)


if __name__ == "__main__":
    main()
