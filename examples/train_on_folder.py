"""Train on a folder of your own pictures.

  python examples/train_on_folder.py photos                  any folder of png and jpg files
  python examples/train_on_folder.py --demo                  draws 200 discs into ./discs first
  python examples/train_on_folder.py --demo --quick          the same in seconds, four steps
  python examples/train_on_folder.py photos --steps=20000 --config.image_size=64

You see: the run folder `runs/folder_<folder>` fill with samples, scores and an export. Flags go to
`python -m kgzoo.main` as they are; the same line again resumes the run.
"""

import itertools
import sys
from pathlib import Path

import numpy as np

from kgzoo import cli, config, main

SIZE = 16
DISCS = Path("discs")


def draw_discs(folder: Path, count: int) -> None:
    """Writes `count` pictures of a disc each: of any colour, anywhere, on black."""
    from kgzoo.evaluation import pictures

    rows, columns = np.mgrid[:SIZE, :SIZE]
    for index in range(count):
        random = np.random.default_rng(index)
        centre, radius = random.uniform(4, SIZE - 4, size=2), random.uniform(2, 4)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        shade = np.clip(radius + 0.5 - distance, 0.0, 1.0)
        disc = shade[..., None] * random.uniform(0.3, 1.0, size=3)
        pictures.save_png(folder / f"disc_{index:03d}.png", np.uint8(np.round(255 * disc)))


def folder_place(words: list[str]) -> int | None:
    """Returns where the folder is among flags, as --steps=3 or --steps 3, on either side of it."""
    for index, (previous, word) in enumerate(itertools.pairwise(["", *words])):
        is_value = previous.startswith("-") and "=" not in previous
        if not word.startswith("-") and not is_value:
            return index
    return None


def train(argv: list[str]) -> int:
    """Runs the example with `argv[1:]`; returns the exit code of `kgzoo.main`."""
    arguments = argv[1:]
    demo, quick = (flag in arguments for flag in ("--demo", "--quick"))
    rest = [argument for argument in arguments if argument not in ("--demo", "--quick")]
    if demo:
        # Before any word of `kgzoo.main` about the folder.
        DISCS.mkdir(exist_ok=True)
        draw_discs(DISCS, 200)
        rest = [str(DISCS), f"--config.image_size={SIZE}", *rest]
    place = folder_place(rest)
    if place is None:
        print(__doc__)
        return 0
    folder = rest.pop(place)
    workdir = f"runs/folder_{Path(folder).name}" + "_quick" * quick
    line = [f"--dataset=image_folder:{folder}", f"--workdir={workdir}"]
    if quick:
        line += [f"--config.{field}={value}" for field, value in config.QUICK.items()]
    return main.main(["kgzoo", *line, *rest])


if __name__ == "__main__":
    cli.run(train, sys.argv)
