"""Where tests find real data sets that were prepared beforehand by TensorFlow Datasets.

folder, reason = datadir.data_dir()
if folder is None:
    self.skipTest(reason)
"""

import os
import pathlib

__all__ = ["data_dir"]

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def data_dir(*names: str) -> tuple[str | None, str]:
    """Looks for a TFDS `data_dir`: $KGZOO_DATA_DIR, else `../shared/tfds` beside the clone.

    Args:
        *names: data sets the test needs, each a folder below it, for instance "mnist".

    Returns:
        (folder, "") when it is there, else (None, the reason in one sentence).
    """
    stated = os.environ.get("KGZOO_DATA_DIR")
    folder = pathlib.Path(stated) if stated else _ROOT.parent / "shared" / "tfds"
    remedy = "set KGZOO_DATA_DIR to a TensorFlow Datasets data_dir that holds it."
    if not folder.is_dir():
        where = f"KGZOO_DATA_DIR={stated}" if stated else "../shared/tfds"
        return None, f"{where} is not a folder, so there is no real data to test on; {remedy}"
    for name in names:
        if not (folder / name).is_dir():
            return None, f"the data set {name!r} is not prepared in {folder}; {remedy}"
    return str(folder), ""
