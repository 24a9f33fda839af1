"""The one import adapter for TF-GAN 2.1.0.

`import tensorflow_gan` fails on TensorFlow >= 2.16: its `__init__` files import the Estimator half,
which subclasses the removed `tf.estimator`. The metrics do not need it. Registering
`tensorflow_gan` and `tensorflow_gan.python` as bare packages (a `__path__` and nothing else) skips
those two `__init__` files, and `tensorflow_gan.python.eval` then imports as it stands.
Nothing is imported or registered before `classifier_metrics` is called.
"""

import contextlib
import importlib
import importlib.util
import logging
import pathlib
import sys
import types
from collections.abc import Iterator

__all__ = ["classifier_metrics", "quiet"]


def classifier_metrics() -> types.ModuleType:
    """Returns TF-GAN's module of Frechet, kernel and classifier scores.

    Returns:
        `tensorflow_gan.python.eval.classifier_metrics`. Its functions take tensors, not arrays.

    Raises:
        ImportError: when tensorflow-gan is not installed.
    """
    if "tensorflow_gan" not in sys.modules:
        spec = importlib.util.find_spec("tensorflow_gan")
        if spec is None or not spec.submodule_search_locations:
            raise ImportError(
                "KID and the inception score need TF-GAN: pip install tensorflow-gan==2.1.0."
            )
        root = pathlib.Path(list(spec.submodule_search_locations)[0])
        package = _bare_package("tensorflow_gan", root)
        package.python = _bare_package("tensorflow_gan.python", root / "python")
    return importlib.import_module("tensorflow_gan.python.eval.classifier_metrics")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps TensorFlow from printing that TF-GAN's calls are deprecated: no user can act on it."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _bare_package(name: str, folder: pathlib.Path) -> types.ModuleType:
    """Registers a package that has submodules but whose `__init__` file does not run."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    return package
