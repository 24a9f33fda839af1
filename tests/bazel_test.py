"""Bazel: the BUILD files name all that there is, and where there is a bazel, it needs no network.

BUILD files are Python as far as these go: they are run here with rules that only take notes.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("", "examples", "kgzoo", "tests")
RULES = ("filegroup", "py_binary", "py_library", "py_test")
# From then on Bazel does not read WORKSPACE, and knows Python's rules by the network alone.
FIRST_WITHOUT_WORKSPACE = 8


def files_of(package: str, include: list[str], exclude: list[str] = ()) -> list[str]:
    """Returns what Bazel's glob does: files below a package and in no package below it."""
    folder = ROOT / package
    inner = [ROOT / other for other in PACKAGES if other != package and other]

    def found(patterns):
        # Bazel's ** ends in files, pathlib's in folders.
        patterns = [p + "/*" if p.endswith("**") else p for p in patterns]
        return {path for p in patterns for path in folder.glob(p) if path.is_file()}

    kept = found(include) - found(exclude)
    kept = [path for path in kept if not (set(inner) & set(path.parents))]
    return sorted(path.relative_to(folder).as_posix() for path in kept)


def declared() -> dict[str, dict]:
    """Returns the targets of all BUILD files by label, each with its attributes."""
    targets = {}
    for package in PACKAGES:

        def note(rule, package=package, **attributes):
            label = f"//{package}:{attributes['name']}"
            if label in targets:
                raise ValueError(f"{label} is declared twice")
            targets[label] = {"rule": rule, **attributes}

        def glob(include, exclude=(), package=package, **_):
            return files_of(package, include, exclude)

        scope = {rule: lambda rule=rule, note=note, **a: note(rule, **a) for rule in RULES}
        scope |= {"glob": glob, "package": lambda **_: None, "exports_files": lambda files: None}
        exec((ROOT / package / "BUILD.bazel").read_text(encoding="utf-8"), scope)
    return targets


def absolute(label: str, package: str) -> str:
    """Returns //package:name for the ways to write a label."""
    if not label.startswith("//"):
        return f"//{package}{label}"
    return label if ":" in label else f"{label}:{label.rpartition('/')[2]}"


class BuildFilesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.targets = declared()

    def files(self, label: str) -> set[str]:
        return set(self.targets[label]["srcs"])

    def of_rule(self, rule: str, package: str) -> dict[str, dict]:
        found = {k: v for k, v in self.targets.items() if k.startswith(f"//{package}:")}
        return {k.partition(":")[2]: v for k, v in found.items() if v["rule"] == rule}

    def test_labels_and_files_are_there(self):
        for label, target in self.targets.items():
            package = label[2:].partition(":")[0]
            for name in [*target.get("srcs", ()), *target.get("data", ()), *target.get("deps", ())]:
                if name.startswith(("//", ":")):
                    self.assertIn(absolute(name, package), self.targets, label)
                else:
                    self.assertTrue((ROOT / package / name).is_file(), f"{label}: {name}")

    def test_library_and_verbs(self):
        library = self.targets["//kgzoo:kgzoo"]
        sources = {p.relative_to(ROOT / "kgzoo").as_posix() for p in (ROOT / "kgzoo").rglob("*.py")}
        self.assertEqual(set(library["srcs"]), sources)
        weights = {f"evaluation/weights/{p.name}" for p in ROOT.glob("kgzoo/evaluation/weights/*")}
        self.assertTrue(weights)
        self.assertEqual(set(library["data"]), {*weights, "py.typed", "//:configs"})
        cards = {f"configs/{p.name}" for p in (ROOT / "configs").glob("*.py")}
        self.assertEqual(self.files("//:configs"), cards)
        verbs = {
            p.stem for p in (ROOT / "kgzoo").glob("*.py") if "    cli.run(main)" in p.read_text()
        }
        self.assertEqual(set(self.of_rule("py_binary", "kgzoo")), verbs)

    def test_examples_and_the_model_repository(self):
        examples = {path.stem for path in (ROOT / "examples").glob("*.py")}
        self.assertEqual(set(self.of_rule("py_binary", "examples")), examples)
        self.assertEqual(self.files("//examples:examples"), {f"{name}.py" for name in examples})
        kept = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / "export").rglob("*")
            if path.is_file() and path.name != "sample_png" and "__pycache__" not in path.parts
        }
        self.assertIn("export/models.config", kept)
        self.assertEqual(self.files("//:export_repository"), kept)

    def test_every_test_has_a_target_that_runs_it(self):
        tests = self.of_rule("py_test", "tests")
        files = {path.stem for path in (ROOT / "tests").glob("*_test.py")}
        self.assertEqual(set(tests), files - {"bazel_test"})
        for name, target in tests.items():
            if "main" in target:
                self.assertEqual(target["args"], [f"{name}.py"])
                self.assertIn(target["main"], target["srcs"])
                self.assertEqual(target["tags"], ["manual"])
            else:
                # A file that does nothing when it is run would pass.
                self.assertIn("    unittest.main()", (ROOT / f"tests/{name}.py").read_text(), name)
        shared = {p.name for p in (ROOT / "tests").glob("*.py")} - {f"{n}.py" for n in files}
        self.assertEqual(self.files("//tests:support"), shared)

    def test_folders_of_others_are_ignored(self):
        """An environment in the clone has BUILD files of its own, which //... would find."""
        ignored = (ROOT / ".bazelignore").read_text(encoding="utf-8").split()
        folders = re.findall(r"^/(\.?\w+)/$", (ROOT / ".gitignore").read_text(), re.MULTILINE)
        self.assertGreater(len(folders), 3)
        self.assertContainsAll(ignored, [*folders, ".git"])
        for path in ROOT.rglob("BUILD.bazel"):
            package = path.parent.relative_to(ROOT)
            if not package.parts or package.parts[0] not in ignored:
                self.assertIn("/".join(package.parts), PACKAGES)

    def assertContainsAll(self, whole, parts):
        self.assertEqual([part for part in parts if part not in whole], [])


class BazelTest(unittest.TestCase):
    """Runs the bazel on PATH, if there is one, with every way to a network closed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        bazel = shutil.which("bazel")
        if bazel is None:
            raise unittest.SkipTest("no bazel on PATH: //... is not queried, built and tested")
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        cls.addClassCleanup(folder.cleanup)
        # No server stays behind.
        cls.start = [bazel, "--batch", f"--output_user_root={folder.name}"]
        closed = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        cls.environment = {**os.environ, **closed, "PATH": path}
        version = re.search(r"label: (\d+)", cls.run_bazel("version"))
        if version is None or int(version[1]) >= FIRST_WITHOUT_WORKSPACE:
            raise unittest.SkipTest(
                f"bazel {version and version[1]} does not read WORKSPACE: //... is not tested"
            )

    @classmethod
    def run_bazel(cls, *words: str) -> str:
        done = subprocess.run(
            [*cls.start, *words], cwd=ROOT, env=cls.environment, capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(f"bazel {' '.join(words)}:\n{done.stdout}{done.stderr[-4000:]}")
        return done.stdout

    def test_query(self):
        found = self.run_bazel("query", "//...").split()
        self.assertEqual(sorted(found), sorted(declared()))

    def test_everything_builds_and_a_test_passes(self):
        self.run_bazel("build", "--symlink_prefix=/", "//...")
        told = self.run_bazel("test", "--symlink_prefix=/", "//tests:imports_test")
        self.assertRegex(told, r"//tests:imports_test +(\(cached\) )?PASSED")

    def test_a_verb_runs(self):
        words = ("run", "--symlink_prefix=/", "//kgzoo:main", "--", "--list_methods")
        self.assertTrue(self.run_bazel(*words).startswith("gan "))


if __name__ == "__main__":
    unittest.main()
