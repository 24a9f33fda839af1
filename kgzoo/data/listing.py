"""Finds data sets on disk: prepared TFDS folders and folders of pictures. Needs no TensorFlow."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable

from kgzoo.errors import UserError, unknown_name

__all__ = ["EMBEDDED", "ImageSet", "image_files", "prepared_dir", "rules"]

# What needs nothing on disk.
_TOYS = ("ring2d", "ring2d_wide", "ring3d", "mog", "gaussian", "laplace1d", "mixture1d")
EMBEDDED = ("digits", *_TOYS)

_NAME = re.compile(r"([a-z][a-z0-9_]*)(?:/([^/:]+))?(?::(\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """How a TFDS image set is used here.

    Attributes:
        train: its split to train on.
        test: its splits to test on, the first that exists.
        image_size: default side of the images; None keeps the stored size.
        remark: added to the advice where TFDS cannot simply download the set.
    """

    train: str = "train"
    test: tuple[str, ...] = ("test", "validation")
    image_size: int | None = None
    remark: str = ""


# The sets of the five papers and the usual small ones. Any other name gets ImageSet().
_IMAGE_SETS = {
    "celeb_a": ImageSet(image_size=64),
    "cifar10": ImageSet(),
    "cifar100": ImageSet(),
    "emnist": ImageSet(),
    "fashion_mnist": ImageSet(),
    "imagenet_resized": ImageSet(test=("validation",)),
    "kmnist": ImageSet(),
    "lsun": ImageSet(
        test=("validation",),
        image_size=64,
        remark=" where tensorflow-io is installed, or use image_folder:<directory>",
    ),
    "mnist": ImageSet(),
    "omniglot": ImageSet(),
    "stl10": ImageSet(train="unlabelled", test=("test",), image_size=48),
    "svhn_cropped": ImageSet(),
}


def rules(name: str) -> ImageSet:
    """Returns how the TFDS set `name` ("stl10", "lsun/classroom", "mnist:3.0.1") is used here."""
    return _IMAGE_SETS.get(re.split("[/:]", name)[0], ImageSet())


def prepared_dir(name: str, data_dir: str | None = None) -> pathlib.Path:
    """Finds a data set that TensorFlow Datasets has prepared, by looking at folders alone.

    Neither the set's own code nor the network is needed: only the folder
    <data_dir>/<name>[/<config>]/<version> and its two json files, so that folders made elsewhere or
    by other versions of TFDS serve as well.

    Args:
        name: "mnist", "imagenet_resized/64x64", "cifar10:3.0.2"; without a version the newest one.
        data_dir: None means $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Returns:
        The folder of one version.

    Raises:
        UserError: the name is unknown, its configuration is ambiguous, or it is not prepared.
    """
    parsed = _NAME.fullmatch(name)
    if not parsed:
        raise unknown_name("dataset", name, [*EMBEDDED, *_IMAGE_SETS])
    base, config, version = parsed.groups()
    stated = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folder = pathlib.Path(stated).expanduser()
    found = _versions(folder / base / (config or ""), version)
    if found:
        return found[-1]
    configs = [] if config else [p for p in _folders(folder / base) if _versions(p, version)]
    if len(configs) == 1:
        return _versions(configs[0], version)[-1]
    if configs:
        choices = ", ".join(f"'{base}/{path.name}'" for path in configs)
        raise UserError(f"dataset={name!r} is prepared in several forms; choose one of: {choices}.")
    if base not in _IMAGE_SETS and not (folder / base).is_dir() and not _in_tfds(base):
        raise unknown_name("dataset", name, [*EMBEDDED, *_IMAGE_SETS])
    raise UserError(
        f"data_dir={str(stated)!r} holds no prepared {name!r}; to prepare it, run: "
        f'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{stated}').download_and_prepare()\""
        f"{rules(name).remark}."
    )


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders in `folder`, sorted; none where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _versions(folder: pathlib.Path, version: str | None) -> list[pathlib.Path]:
    """Returns the complete versions in `folder`, the newest last."""
    found = {}
    for path in _folders(folder):
        number = _VERSION.fullmatch(path.name)
        # TFDS renames a folder into place when it is whole; these two files it writes last.
        complete = (path / "dataset_info.json").is_file() and (path / "features.json").is_file()
        if number and complete and version in (None, path.name):
            found[tuple(map(int, number.groups()))] = path
    return [found[key] for key in sorted(found)]


def _in_tfds(name: str) -> bool:
    """Tells whether TensorFlow Datasets knows how to make the set."""
    import tensorflow_datasets as tfds

    # Community sets are left out: listing them asks the network.
    return name in tfds.list_builders(with_community_datasets=False)


def image_files(folder: str) -> tuple[pathlib.Path, list[str]]:
    """Lists the png and jpg files below a folder.

    Args:
        folder: the directory; "~" is expanded. Hidden files and folders are left out.

    Returns:
        The directory, and the paths relative to it with "/" between the parts, sorted as strings:
        the order does not depend on the machine or on where the folder is.

    Raises:
        UserError: there is no such folder, it cannot be read, or it has fewer than two pictures.
    """
    root = pathlib.Path(folder).expanduser()
    field = f"dataset='image_folder:{folder}'"
    if not folder or not root.is_dir():
        raise UserError(f"{field} names no folder; give one that exists, image_folder:<directory>.")
    found = []
    for parent, children, files in os.walk(root, onerror=_refuse(field)):
        children[:] = [child for child in children if not child.startswith(".")]
        for file in files:
            if file.lower().endswith(_SUFFIXES) and not file.startswith("."):
                found.append(pathlib.Path(parent, file).relative_to(root).as_posix())
    if len(found) < 2:
        raise UserError(
            f"{field} holds {len(found)} png or jpg files; at least 2 are needed, one to train "
            "and one to test."
        )
    return root, sorted(found)


def _refuse(field: str) -> Callable[[OSError], None]:
    def refuse(error: OSError):
        raise UserError(
            f"{field} cannot be read at '{error.filename}' ({error.strerror}); make it readable."
        ) from error

    return refuse
