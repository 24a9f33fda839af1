"""How kgzoo is installed: `pip install .`, or `pip install -e ".[test]"` in a clone."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).resolve().parent


def version() -> str:
    """Returns the version that `kgzoo/__init__.py` states, without importing the package."""
    source = (ROOT / "kgzoo" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', source, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError('kgzoo/__init__.py must hold a line like __version__ = "0.1.0".')
    return found.group(1)


CORE = [
    "absl-py",
    "keras==3.15.*",
    "ml-collections",
    "numpy",
    "scikit-learn",
    "scipy",
    "tensorboard",  # TensorFlow 2.21 no longer brings it; summaries need it to be read.
    "tensorflow==2.21.*",
    "tensorflow-datasets",
    "importlib_resources",  # imported by tensorflow-datasets, which does not declare it.
    "tensorflow-gan==2.1.0",
    # For tensorflow-hub below tensorflow-gan, which imports pkg_resources: later ones lack it.
    "setuptools>=77.0.3,<80.9",
    "tensorflow-probability",
    "tensorflow-serving-api==2.21.*",
    "threadpoolctl",
    "tf-keras==2.21.*",  # what tensorflow-probability calls Keras.
]

EXTRAS = {
    "bench": ["torch==2.13.0"],
    "lipmmd": ["clarabel", "cvxpy"],
    "plots": ["matplotlib>=3.10", "pillow"],
    "test": ["hypothesis", "pytest", "pytest-xdist", "pyyaml", "ruff"],
}
# The tests run the methods and figures that need the other two.
EXTRAS["test"] += EXTRAS["lipmmd"] + EXTRAS["plots"]

setup(
    name="kgzoo",
    version=version(),
    description="A zoo of kernel-based deep generative models for TensorFlow and Keras.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The kgzoo authors",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["MMD-GAN", "kernel", "generative models", "maximum mean discrepancy", "TensorFlow"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    install_requires=CORE,
    extras_require=EXTRAS,
    # The run cards live at the top level of a clone and are installed as kgzoo/configs.
    packages=[*find_packages(include=["kgzoo", "kgzoo.*"]), "kgzoo.configs"],
    package_dir={"kgzoo.configs": "configs"},
    package_data={"kgzoo": ["py.typed"], "kgzoo.evaluation": ["weights/*"]},
    include_package_data=False,
    entry_points={"console_scripts": ["kgzoo = kgzoo.cli:main"]},
)
