"""Trains a variational autoencoder under several settings and estimates each by AIS.

  python benchmarks/vae_search.py --data_dir=~/tensorflow_datasets --to=result.json \
      info_ivae_rbf:ridge=0.1 info_ivae_rbf:ridge=1,information_weight=0

What the KernelNet paper leaves open (lambda, alpha, the ridge, the number of eigenfunctions) was
chosen by this; results/vae_search.json holds every setting tried. A method's rest is its row's.
The estimate is of the averaged decoder on the first validation images: the last ones of the
training split, which the trainings here leave out. A setting that is in the file is not run again.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

import numpy as np

from kgzoo import cli, config

_VALIDATION = 5000
_BUDGET = ("steps", "points", "chains", "temperatures", "leapfrog_steps")


def _parse(setting: str) -> tuple[str, dict[str, str]]:
    method, _, fields = setting.partition(":")
    return method, dict(field.split("=", 1) for field in fields.split(",") if field)


def _measure(setting: str, arguments: argparse.Namespace) -> dict:
    import tensorflow as tf

    from kgzoo import data, methods
    from kgzoo.data.pipeline import training_dataset
    from kgzoo.evaluation import ais

    method, fields = _parse(setting)
    settings = config.compose(method, "mnist", None, fields)
    folder = os.path.expanduser(arguments.data_dir) if arguments.data_dir else None
    whole = data.load("mnist", "train", folder)
    train, held = whole.examples[:-_VALIDATION], whole.examples[-_VALIDATION:]
    source = data.Source(
        "mnist", "image", whole.shape, len(train), np.array(train), binarization="dynamic"
    )
    validation = data.Source("mnist", "image", whole.shape, _VALIDATION, np.array(held))
    points = data.binarize(validation).examples[: arguments.points] / 255
    model = methods.build(settings, "image", whole.shape)
    model.compile(methods.build_optimizers(settings, model.players))
    step, seconds, logs = tf.function(model.train_step), [], {}
    stream = training_dataset(
        source, seed=0, batch_size=settings.batch_size, batches_per_step=len(model.schedule)
    )
    for batch in stream.take(arguments.steps):
        start = time.perf_counter()
        logs = {name: float(value) for name, value in step(batch).items()}
        seconds.append(time.perf_counter() - start)
    codes = model.encode_samples(points[:64].astype(np.float32), 16).numpy()
    found = ais.estimate(
        model.decoder_logits,
        points.astype(np.float32),
        settings.latent_dim,
        chains=arguments.chains,
        temperatures=arguments.temperatures,
        leapfrog_steps=arguments.leapfrog_steps,
    )
    return {
        "setting": setting,
        **{name: getattr(arguments, name) for name in _BUDGET},
        "nll": -found.mean,
        "standard_error": found.standard_error,
        "log_likelihoods": [round(float(value), 3) for value in found.log_likelihoods],
        "effective_sample_size": float(np.mean(found.effective_sample_sizes)),
        "reconstruction": logs["reconstruction"],
        "code_deviation_within": float(codes.std(axis=1).mean()),
        "code_deviation": float(codes.reshape(-1, codes.shape[-1]).std(axis=0).mean()),
        "step_milliseconds": 1e3 * statistics.median(seconds),
    }


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+", help="method[:field=value,...]")
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--chains", type=int, default=5)
    parser.add_argument("--temperatures", type=int, default=200)
    parser.add_argument("--leapfrog_steps", type=int, default=5)
    parser.add_argument("--to", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    cli.quiet_tensorflow()
    from kgzoo.evaluation import files

    rows = json.loads(arguments.to.read_text()) if arguments.to.exists() else []
    for setting in arguments.settings:
        budget = {name: getattr(arguments, name) for name in _BUDGET}
        if any(row["setting"] == setting and row.items() >= budget.items() for row in rows):
            continue
        row = _measure(setting, arguments)
        rows.append(row)
        files.replace_file(arguments.to, (json.dumps(rows, indent=1) + "\n").encode())
        print(
            f"{setting}: NLL {row['nll']:.2f} +- {row['standard_error']:.2f}, reconstruction "
            f"{row['reconstruction']:.1f}, codes {row['code_deviation_within']:.2f} of "
            f"{row['code_deviation']:.2f}, {row['step_milliseconds']:.0f} ms a step",
            flush=True,
        )


if __name__ == "__main__":
    main()
