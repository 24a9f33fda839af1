"""Black and white images: every pixel drawn once or anew, white with probability intensity / 255.

    none     the intensities as stored
    dynamic  a fresh draw each time `pipeline.training_dataset` shows an example; what is read
             otherwise (`Source.examples`, `batches`) are the intensities
    fixed    one draw of every example, the same on every machine and in every run, which
             knows nothing of a run's seed

Pixels stay uint8, 0 or 255. Log-likelihoods of models trained on fixed draws, on dynamic ones and
on other people's fixed draws (Larochelle & Murray's binarised MNIST) are not comparable.

References:
    Salakhutdinov & Murray (2008), On the quantitative analysis of deep belief networks: MNIST with
        pixels drawn by their intensity.
"""

import dataclasses

import numpy as np

from kgzoo.data.source import Source
from kgzoo.errors import UserError

__all__ = ["FIXED_SEED", "binarize", "with_binarization"]

# Of all fixed draws. Another number would make another data set.
FIXED_SEED = 20
# A part of the seed, so that the example 0 of either split has draws of its own.
_STREAMS = {"train": 0, "test": 1, "all": 2}
_DRAWN_AT_ONCE = 1024


def binarize(source: Source, seed: int = FIXED_SEED) -> Source:
    """Returns a split with one draw of every pixel, for evaluation and for `fixed` training.

    The draws of example i are uniform numbers number i * size .. (i + 1) * size - 1 of the legacy
    NumPy generator seeded with (seed, split), whose stream NumPy has frozen.

    Args:
        source: images in memory. One that has fixed draws comes back as it is: a draw of black and
            white changes nothing.
        seed: of the draw, 0 .. 2**32 - 1; not the seed of a run.

    Returns:
        The same split with `binarization` "fixed" and examples 0 or 255; `describe` tells the seed.

    Raises:
        UserError: the examples are vectors, or not in memory.
    """
    if source.binarization == "fixed":
        return source
    if source.examples is None:
        other = " or --config.binarization=dynamic" if source.split == "train" else ""
        raise UserError(
            f"binarization='fixed' needs all of {source.name!r} ({source.split}) in memory, where "
            f"it does not fit; choose a smaller --config.image_size{other}."
        )
    # Refuses vectors before anything is drawn.
    source = dataclasses.replace(source, binarization="fixed")
    random = np.random.RandomState([seed, _STREAMS[source.split]])
    drawn = np.empty_like(source.examples)
    # In parts: eight bytes of noise a pixel would be 376 MB for MNIST.
    for start in range(0, len(drawn), _DRAWN_AT_ONCE):
        part = source.examples[start : start + _DRAWN_AT_ONCE]
        white = 255.0 * random.random_sample(part.shape) < part
        drawn[start : start + len(part)] = np.where(white, 255, 0)
    facts = {**source.facts, "binarization_seed": seed}
    return dataclasses.replace(source, examples=drawn, facts=facts)


def with_binarization(source: Source, binarization: str) -> Source:
    """Returns a split with another setting; fixed draws stay what they are under each.

    Args:
        source: the split.
        binarization: "none", "dynamic" or "fixed", by `binarize`.

    Raises:
        UserError: the setting is unknown or does not fit the examples.
    """
    if binarization == "fixed" or source.binarization == "fixed":
        return binarize(source)
    return dataclasses.replace(source, binarization=binarization)
