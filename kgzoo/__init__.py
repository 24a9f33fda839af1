"""kgzoo: the zoo of kernel-based deep generative models for TensorFlow and Keras.

model = kgzoo.load("smmd_mnist")         # a name of kgzoo.list_models(), or a path
images = model.sample(64, seed=1)        # [64, 28, 28, 1] in [0, 1]
"""

import importlib
from typing import Any

__all__ = ["__version__", "list_models", "load"]

__version__ = "0.1.0"

_LAZY = {"load": "kgzoo.zoo", "list_models": "kgzoo.presets"}


def __getattr__(name: str) -> Any:
    # TensorFlow takes seconds to import: a verb's --help, and `import kgzoo`, do without.
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
