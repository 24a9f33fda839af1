"""Data: one split of one data set as a `Source`, by name.

Grammar: images uint8 [n, height, width, channels]; vectors float32 [n, d]. Modules: `source` (what
a split is), `loading` (sets by name), `listing` (what is on disk), `synthetic` (rings, mixtures),
`images` (the embedded digits; cropping and resizing), `prepared` (sets that TensorFlow Datasets has
prepared), `folders` (folders of pictures), `binarization` (black and white draws of images),
`records` (streams and permutations), `pipeline` (training batches, a pure function of seed and
step).

Importing this package loads neither TensorFlow nor scikit-learn nor TFDS.
"""

from kgzoo.data.binarization import binarize
from kgzoo.data.loading import check, load, names
from kgzoo.data.source import Source, batches

__all__ = ["Source", "batches", "binarize", "check", "load", "names"]
