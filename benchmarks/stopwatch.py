"""What the benchmarks share: turns of a stopwatch, steps to time, exponents, JSON."""

import json
import os
import pathlib
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["exponent", "in_turns", "interleaved", "keep", "make_step", "median", "record"]


def in_turns(names: Iterable[Any], rounds: int) -> Iterator[Any]:
    """Yields every name once a round.

    A slow minute of the machine so meets all of them, and every second round runs backwards, so
    that none always follows the same one.
    """
    order = list(names)
    for number in range(rounds):
        yield from order if number % 2 == 0 else reversed(order)


def interleaved(
    turns: Mapping[Hashable, Callable[[], Any]], rounds: int, warm_up: int = 2
) -> dict[Hashable, list[float]]:
    """Returns the seconds of each turn in each round, `{name: [rounds]}`; see `in_turns`.

    Args:
        turns: by name; each returns when its work is done.
        rounds: at least 1.
        warm_up: turns of each before the first round.
    """
    seconds: dict[Hashable, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        for _ in range(warm_up):
            turn()
    for name in in_turns(turns, rounds):
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


def keep(
    path: pathlib.Path | None,
    facts: Mapping[str, Any],
    asked: Mapping[str, Any],
    found: Mapping[str, Any],
) -> None:
    """Writes what a program found behind the machine and the arguments; nowhere if `path` is None.

    Args:
        path: of the JSON file.
        facts: of `provenance.describe`.
        asked: the command line's arguments, as JSON can hold them.
        found: what else to write.
    """
    if path is not None:
        from kgzoo.evaluation import files

        content = {"provenance": facts, "arguments": asked, **found}
        files.replace_file(path, (json.dumps(content, indent=2) + "\n").encode())


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
