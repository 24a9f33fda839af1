"""Fine-tune a generator of handwritten digits until it writes one of them.

  python examples/finetune_digit_class.py --data_dir=~/tensorflow_datasets       smmd_mnist, 3
  python examples/finetune_digit_class.py sn_smmd_mnist --digit=7 --data_dir=~/tensorflow_datasets
  python examples/finetune_digit_class.py smmd_digits --dataset=digits           nothing on disk
  python examples/finetune_digit_class.py --save=threes.keras --data_dir=...     to keep the model

You see: the share of that digit among 1,000 samples before and after, as the data set's classifier
reads them, and both as pictures in one PNG. The model is a name of `kgzoo.list_models()` or a path.
"""

import argparse
import sys
import time

import numpy as np

import kgzoo
from kgzoo import cli
from kgzoo.errors import UserError

SAMPLES, PICTURED = 1000, 64


def fine_tune(model, images: np.ndarray, steps: int, rate_factor: float) -> None:
    """Trains on with images of the one class alone.

    Args:
        model: from `kgzoo.load`, compiled with the optimizers it was trained with.
        images: uint8 [n, height, width, channels].
        steps: generator updates.
        rate_factor: times the recorded learning rates is where the rates begin; they fall to 0
            along a cosine, so that the last samples do not jitter.
    """
    import keras
    import tensorflow as tf

    class Progress(keras.callbacks.Callback):
        """Rewrites one line; Keras's own bar, with all losses, is longer than most."""

        def on_train_batch_end(self, batch, logs=None):
            end = "\n" if batch + 1 == steps else ""
            print(f"\r  step {batch + 1} of {steps}", end=end, flush=True)

    optimizers = {}
    for player, optimizer in model.optimizers.items():
        updates = steps * sum(player in players for players in model.schedule)
        rate = rate_factor * float(optimizer.learning_rate)
        falling = keras.optimizers.schedules.CosineDecay(rate, max(1, updates))
        settings = {**optimizer.get_config(), "learning_rate": falling}
        optimizers[player] = type(optimizer).from_config(settings)
    model.compile(optimizers)
    batches = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images), seed=0).repeat()
    batches = batches.batch(model.batch_size, drop_remainder=True)
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[Progress()])


def share(samples: np.ndarray, extractor, digit: int) -> float:
    """Returns the share of samples that the classifier takes for the digit."""
    return float(np.mean(extractor.extract(samples)[1].argmax(axis=1) == digit))


def run(argv: list[str]) -> int:
    """Runs the example; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smmd_mnist")
    parser.add_argument("--dataset", choices=("mnist", "digits"), default="mnist")
    parser.add_argument("--data_dir", help="folder of prepared TFDS data sets, for mnist")
    parser.add_argument("--digit", type=int, choices=range(10), default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate_factor", type=float, default=3.0)
    parser.add_argument("--out", default="one_digit.png")
    parser.add_argument("--save", help="where to keep the model, as threes.keras")
    asked = parser.parse_args(argv[1:])
    if asked.steps < 1:
        raise UserError(f"--steps={asked.steps} is too small; give 1 or more.")
    cli.quiet_tensorflow()
    from kgzoo import data
    from kgzoo.evaluation import features, pictures

    model = kgzoo.load(asked.model)
    source = data.load(asked.dataset, data_dir=asked.data_dir)
    if source.shape != model.sample_shape:
        raise UserError(
            f"model={asked.model} makes {model.sample_shape} and {asked.dataset} has "
            f"{source.shape}; choose another model or --dataset."
        )
    extractor = features.get(asked.dataset)
    before = model.sample(SAMPLES, seed=0)
    images = source.examples[source.labels == asked.digit]
    print(f"Fine-tuning on the {len(images)} images of {asked.digit} for {asked.steps} steps:")
    start = time.monotonic()
    fine_tune(model, images, asked.steps, asked.rate_factor)
    seconds = time.monotonic() - start
    after = model.sample(SAMPLES, seed=0)
    shares = [100 * share(samples, extractor, asked.digit) for samples in (before, after)]
    grids = [pictures.grid(samples[:PICTURED]) for samples in (before, after)]
    gap = np.full_like(grids[0][:, :8], 255)
    pictures.save_png(asked.out, np.concatenate([grids[0], gap, grids[1]], axis=1))
    print(
        f"share of {asked.digit} among {SAMPLES} samples: {shares[0]:.1f} % before, "
        f"{shares[1]:.1f} % after; {seconds:.0f} s; left and right in {asked.out}"
    )
    if asked.save:
        model.save(asked.save)
        print(f"to serve it: python -m kgzoo.export {asked.save} --to=models")
    return 0


if __name__ == "__main__":
    cli.run(run, sys.argv)
