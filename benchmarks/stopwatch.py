"""What the parts of speed.py share: turns of a stopwatch, steps to time, exponents, JSON."""

import json
import os
import pathlib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

__all__ = ["exponent", "interleaved", "make_step", "median", "record"]


def interleaved(
    turns: Mapping[Hashable, Callable[[], Any]], rounds: int, warm_up: int = 2
) -> dict[Hashable, list[float]]:
    """Returns the seconds of each turn in each round, `{name: [rounds]}`.

    All take one turn in a round, so that a slow minute of the machine meets all of them, and every
    second round runs backwards, so that none always follows the same one.

    Args:
        turns: by name; each returns when its work is done.
        rounds: at least 1.
        warm_up: turns of each before the first round.
    """
    seconds: dict[Hashable, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        for _ in range(warm_up):
            turn()
    for number in range(rounds):
        names = list(turns) if number % 2 == 0 else list(turns)[::-1]
        for name in names:
            start = time.perf_counter()
            turns[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def median(values: Sequence[float]) -> float:
    """Returns the median as a Python number."""
    import numpy as np

    return float(np.median(values))


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Returns e of seconds = c size^e, by least squares on the logarithms of both."""
    import numpy as np

    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def make_step(
    method: str,
    shape: tuple[int, int, int],
    fields: Mapping[str, Any],
    critic_steps: int = 1,
    dataset: str = "cifar10",
) -> tuple[Callable[[], None], int]:
    """Returns a training step on a batch of noise, traced when first called, and its updates.

    Args:
        method: row of the catalogue.
        shape: of an image.
        fields: of the config.
        critic_steps: of all methods alike; 0: the row's own.
        dataset: whose settings the config starts from.
    """
    import numpy as np
    import tensorflow as tf

    from kgzoo import config, methods

    equal = {"critic_steps": critic_steps} if critic_steps else {}
    settings = config.compose(method, dataset, overrides={**fields, **equal})
    model = methods.build(settings, "image", shape)
    model.compile(methods.build_optimizers(settings, model.players))
    updates = len(model.schedule)
    sizes = (updates, settings.batch_size, *shape)
    noise = tf.constant(np.random.RandomState(0).randint(0, 256, sizes, np.uint8))
    step = tf.function(model.train_step, autograph=False)

    def turn() -> None:
        # A number read from the last update: the step is done when it is there.
        float(step(noise)["generator_loss"])

    return turn, updates


def record(
    folder: pathlib.Path, name: str, settings: Mapping[str, Any], found: Any
) -> pathlib.Path:
    """Writes `<name>.json` with the machine beside what was found; returns its path."""
    from kgzoo.evaluation import files
    from kgzoo.reproductions import provenance

    content = {
        "settings": dict(settings),
        "machine": {**provenance.describe(), "load_average": list(os.getloadavg())},
        **found,
    }
    path = folder / f"{name}.json"
    text = json.dumps(content, indent=2, allow_nan=False)
    files.replace_file(path, (text + "\n").encode())
    return path
