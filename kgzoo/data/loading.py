"""Data sets by name."""

from kgzoo.data import listing
from kgzoo.data.binarization import with_binarization
from kgzoo.data.source import BINARIZATIONS, FOLDER_PREFIX, SPLITS, Source, at_least
from kgzoo.errors import UserError, unknown_name

__all__ = ["check", "load", "names"]


def names() -> list[str]:
    """Returns the data sets that need nothing on disk.

    Beside them `load` takes every image set that TensorFlow Datasets has prepared, by its name
    there ("mnist", "lsun/classroom", "cifar10:3.0.2"), and `image_folder:<directory>`.
    """
    return list(listing.EMBEDDED)


def check(name: str, data_dir: str | None = None) -> None:
    """Raises what `load` would raise for a name that leads nowhere; needs no TensorFlow.

    Args:
        name: as for `load`.
        data_dir: as for `load`.

    Raises:
        UserError: the name is unknown, or the data set is not on disk.
    """
    if name.startswith(FOLDER_PREFIX):
        listing.image_files(name.removeprefix(FOLDER_PREFIX))
    elif name not in listing.EMBEDDED:
        listing.prepared_dir(name, data_dir)


def load(
    name: str,
    split: str = "train",
    data_dir: str | None = None,
    image_size: int | None = None,
    memory_limit_bytes: int = 2 << 30,
    binarization: str = "none",
) -> Source:
    """Loads one split of a data set. Never downloads anything.

    Args:
        name: one of `names()`, the name of an image set prepared by TensorFlow Datasets, or
            `image_folder:<directory>`.
        split: "train" or "test". STL-10 trains on its 100,000 unlabelled images; where a prepared
            set has no test split, its validation split is the test split. A folder of images has
            "all" as well.
        data_dir: where TensorFlow Datasets prepared its sets; None means $TFDS_DATA_DIR, else
            ~/tensorflow_datasets.
        image_size: side of the square images wanted; None keeps the set's own default: 16 for
            digits, 32 for folders, 48 for stl10, 64 for celeb_a and lsun, otherwise the stored
            size (64 where the stored images are not squares of one size).
        memory_limit_bytes: a split larger than this, counted as decoded and resized, is streamed.
        binarization: "none", "dynamic" or "fixed", of image sets; see `kgzoo.data.binarization`.
            Dynamic draws are the training pipeline's: the other splits have fixed ones.

    Returns:
        The split; see `Source`.

    Raises:
        UserError: an argument is wrong, or the data set is missing, incomplete or damaged.
    """
    is_folder = name.startswith(FOLDER_PREFIX)
    if split not in SPLITS and not (is_folder and split == "all"):
        raise UserError(f"split={split!r} is not known; choose 'train' or 'test'.")
    memory_limit_bytes = at_least("memory_limit_bytes", memory_limit_bytes, 0)
    if image_size is not None:
        image_size = at_least("image_size", image_size, 1)
    if binarization not in BINARIZATIONS:
        raise unknown_name("binarization", binarization, BINARIZATIONS)
    source = _as_stored(name, split, data_dir, image_size, memory_limit_bytes)
    if binarization == "dynamic" and split != "train" and source.kind == "image":
        binarization = "fixed"
    return with_binarization(source, binarization)


def _as_stored(
    name: str, split: str, data_dir: str | None, image_size: int | None, memory_limit_bytes: int
) -> Source:
    if name == "digits":
        from kgzoo.data import images

        return images.load_digits(split, image_size)
    if name in listing.EMBEDDED:
        if image_size is not None:
            raise UserError(f"image_size={image_size} does not apply to {name!r}; leave it out.")
        from kgzoo.data import synthetic

        return synthetic.load(name, split)
    if name.startswith(FOLDER_PREFIX):
        from kgzoo.data import folders

        return folders.load(name, split, image_size, memory_limit_bytes)
    from kgzoo.data import prepared

    return prepared.load(name, split, data_dir, image_size, memory_limit_bytes)
