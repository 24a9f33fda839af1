"""Times a training step of several methods on the same networks, in turn, and prints ratios.

  python benchmarks/step_ratio.py --methods=smmd,gcmmd [--network=sndcgan --width=16 --size=32]
                                  [--batch_size=64 --rounds=20 --to=result.json]

The methods take turns, round by round, so that a slow minute of the machine meets all of them. The
ratio is of the medians, to the first method. The data are noise: no cost depends on them.
"""

import argparse
import json
import pathlib
import time

import numpy as np

from kgzoo import cli, config


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="smmd,gcmmd")
    parser.add_argument("--network", default="dcgan_small")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--to", type=pathlib.Path, default=None)
    arguments = parser.parse_args()
    cli.quiet_tensorflow()
    import tensorflow as tf

    from kgzoo import methods

    shape = (arguments.size, arguments.size, arguments.channels)
    steps = {}
    for name in arguments.methods.split(","):
        overrides = {
            "network": arguments.network,
            "generator_width": arguments.width,
            "critic_width": arguments.width,
            "batch_size": arguments.batch_size,
        }
        settings = config.compose(name, "mnist", overrides=overrides)
        model = methods.build(settings, "image", shape)
        model.compile(methods.build_optimizers(settings, model.players))
        updates = len(model.schedule)
        noise = np.random.RandomState(0).randint(
            0, 256, (updates, arguments.batch_size, *shape), np.uint8
        )
        step = tf.function(model.train_step, autograph=False)
        step(tf.constant(noise))
        steps[name] = (step, tf.constant(noise))
    seconds = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, (step, examples) in steps.items():
            start = time.perf_counter()
            logs = step(examples)
            float(logs["generator_loss"])
            seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    first = next(iter(medians))
    for name, median in medians.items():
        ratio = median / medians[first]
        print(f"{name:>12}  {1000 * median:8.1f} ms a step  {ratio:5.2f} x {first}")
    if arguments.to:
        facts = {**vars(arguments), "to": None, "median_seconds": medians}
        facts["ratios"] = {name: median / medians[first] for name, median in medians.items()}
        arguments.to.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
