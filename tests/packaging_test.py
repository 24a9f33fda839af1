"""What `pip install` brings: all files, all declared libraries, one version, a quick start."""

import ast
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from email import message_from_string
from importlib import metadata

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The name on the package index, where it differs from the name in an import statement.
DISTRIBUTIONS = {
    "absl": "absl-py",
    "ml_collections": "ml-collections",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
    "tensorflow_gan": "tensorflow-gan",
    "tensorflow_probability": "tensorflow-probability",
    "tensorflow_serving": "tensorflow-serving-api",
    "tf_keras": "tf-keras",
}


def copied_tree(folder: pathlib.Path) -> pathlib.Path:
    """Copies what a build reads, so that building leaves nothing behind in the clone."""
    leftovers = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("kgzoo", "configs", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=leftovers)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def top_level_imports(folder: str) -> set[str]:
    """Returns the first parts of all modules imported anywhere in the folder's Python files."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"kgzoo"}


class WheelTest(unittest.TestCase):
    """Builds the wheel once, from a copy, with the setuptools at hand: no network."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if int(metadata.version("setuptools").split(".")[0]) < 77:
            raise unittest.SkipTest("Building needs setuptools >= 77; installing kgzoo brings it.")
        folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, folder)
        build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
        tree = copied_tree(folder)
        done = subprocess.run(
            [sys.executable, "-c", build], cwd=tree, capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(
                f"The wheel does not build:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
            )
        (cls.wheel,) = (tree / "dist").glob("*.whl")
        with zipfile.ZipFile(cls.wheel) as archive:
            cls.names = set(archive.namelist())
            (stated,) = (name for name in cls.names if name.endswith(".dist-info/METADATA"))
            cls.metadata = message_from_string(archive.read(stated).decode())
            cls.info = stated.removesuffix("METADATA")
            cls.entry_points = archive.read(cls.info + "entry_points.txt").decode()

    def test_holds_every_module_card_and_data_file(self):
        expected = {str(path.relative_to(ROOT)) for path in (ROOT / "kgzoo").rglob("*.py")}
        expected |= {f"kgzoo/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
        weights = ROOT / "kgzoo" / "evaluation" / "weights"
        expected |= {str(path.relative_to(ROOT)) for path in weights.glob("*")}
        expected |= {"kgzoo/py.typed", self.info + "licenses/LICENSE"}
        self.assertEqual(expected - self.names, set())

    def test_holds_nothing_else(self):
        def belongs(name):
            return name.startswith(("kgzoo/", self.info))

        self.assertEqual([name for name in self.names if not belongs(name)], [])
        self.assertEqual([name for name in self.names if "test" in name or "BUILD" in name], [])

    def test_metadata(self):
        self.assertEqual(self.metadata["Name"], "kgzoo")
        self.assertEqual(self.metadata["License-Expression"], "Apache-2.0")
        self.assertEqual(self.metadata["Requires-Python"], ">=3.11")
        self.assertIn("kgzoo = kgzoo.cli:main", self.entry_points)

    def test_every_imported_library_is_declared(self):
        stated = self.metadata.get_all("Requires-Dist")
        declared = {re.match(r"[\w-]+", line).group().replace("_", "-").lower() for line in stated}
        imported = top_level_imports("kgzoo") | top_level_imports("configs")
        wanted = {DISTRIBUTIONS.get(name, name).lower() for name in imported}
        self.assertEqual(wanted - declared, set())

    def test_cards_are_found_from_the_wheel(self):
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(self.wheel) as archive:
                archive.extractall(folder)
            script = "from kgzoo.config import cards_folder; print(cards_folder())"
            found = subprocess.check_output([sys.executable, "-c", script], cwd=folder, text=True)
            packaged = pathlib.Path(folder).resolve() / "kgzoo" / "configs"
            self.assertEqual(pathlib.Path(found.strip()), packaged)


class ProjectTest(unittest.TestCase):
    """What several files say at once, they say alike."""

    def test_one_version(self):
        places = {
            "kgzoo/__init__.py": r'^__version__ = "([^"]+)"$',
            "CITATION.cff": r"^version: (\S+)$",
            "MODULE.bazel": r'^    version = "([^"]+)",$',
            "CHANGELOG.md": r"^## \[(\d[^]]*)\]",
        }
        found = {}
        for name, pattern in places.items():
            text = (ROOT / name).read_text(encoding="utf-8")
            found[name] = re.search(pattern, text, flags=re.MULTILINE).group(1)
        self.assertEqual(len(set(found.values())), 1, found)

    def test_light_modules_start_without_heavy_libraries(self):
        names = "errors catalog config cli main evaluate export reproduce report".split()
        there = [name for name in names if (ROOT / "kgzoo" / f"{name}.py").is_file()]
        modules = ["kgzoo", *(f"kgzoo.{name}" for name in there)]
        script = f"import sys, {', '.join(modules)}; print(*sys.modules)"
        loaded = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True)
        heavy = {"tensorflow", "keras", "numpy", "scipy", "sklearn", "tensorflow_probability"}
        self.assertEqual(heavy & set(loaded.split()), set())


if __name__ == "__main__":
    unittest.main()
