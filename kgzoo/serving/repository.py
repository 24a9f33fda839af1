"""A folder of exports as a TensorFlow Serving model repository: which models, and models.config.

python -m kgzoo.serving.repository [FOLDER]        writes FOLDER/models.config (default: export)

Each `FOLDER/<name>/` with a version in it, as `python -m kgzoo.export` writes it, becomes an entry.
"""

import argparse
import os
import pathlib
import sys

from kgzoo.errors import UserError
from kgzoo.evaluation import files
from kgzoo.presets import version_folders
from kgzoo.serving.versions import NAME

__all__ = ["CONFIG_FILE", "model_names", "models_config", "write_models_config"]

CONFIG_FILE = "models.config"
_HEAD = """\
# For tensorflow_model_server --model_config_file=export/models.config (a ModelServerConfig).
# Written by `python -m kgzoo.serving.repository export` from the folders beside it.
#
# The server waits for every entry to appear, so leave out the models that you do not have.
# base_path is the folder above the versions and must be absolute: as written, this folder, or the
# export folder of a run, is to be mounted or linked at /models (see README.md here).
"""
_ENTRY = """\
  config {{
    name: "{name}"
    base_path: "{mount}/{name}"
    model_platform: "tensorflow"
  }}
"""


def model_names(folder: str | os.PathLike) -> list[str]:
    """Returns the models below a folder that a server would find a version of, sorted."""
    folder = pathlib.Path(folder)
    children = sorted(folder.iterdir()) if folder.is_dir() else []
    return [child.name for child in children if NAME.fullmatch(child.name) and _is_model(child)]


def _is_model(folder: pathlib.Path) -> bool:
    versions = version_folders(folder).values()
    return any((path / "saved_model.pb").is_file() for paths in versions for path in paths)


def models_config(names: list[str], mount: str = "/models") -> str:
    """Returns the text of a models.config.

    Args:
        names: of the models.
        mount: absolute path at which the server sees the folder of exports.
    """
    entries = "".join(_ENTRY.format(name=name, mount=mount) for name in names)
    return f"{_HEAD}model_config_list {{\n{entries}}}\n"


def write_models_config(folder: str | os.PathLike, mount: str = "/models") -> pathlib.Path:
    """Writes <folder>/models.config with an entry for each model there, and returns its path.

    Raises:
        UserError: There is no such folder, it holds no model, or the disk refuses.
    """
    try:
        is_folder, names = pathlib.Path(folder).is_dir(), model_names(folder)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder} cannot be read ({files.reason(error)}); give a folder "
            "that you may read."
        ) from None
    if not is_folder:
        raise UserError(f"{folder} is not a folder; give a folder of exports, such as export.")
    if not names:
        raise UserError(
            f"{folder} holds no export; make one by python -m kgzoo.export RUN --to={folder}."
        )
    path = pathlib.Path(folder) / CONFIG_FILE
    try:
        return files.replace_file(path, models_config(names, mount).encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written ({files.reason(error)}).") from error


def _main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m kgzoo.serving.repository",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", default="export", help="of exports; default: export")
    try:
        print(write_models_config(parser.parse_args(argv).folder))
    except UserError as error:
        print(f"repository: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())
