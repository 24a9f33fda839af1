"""Files from strangers: nothing of them is run, nothing leaves its folder, each gets a sentence."""

import ast
import base64
import contextlib
import io
import json
import marshal
import os
import pathlib
import pickle
import stat
import tempfile
import unittest
import zipfile

import keras
import numpy as np
from absl.testing import parameterized

import fuzzing
from kgzoo import cli, evaluate, export, kernels, report, results, serving
from kgzoo.config import compose
from kgzoo.errors import UserError
from kgzoo.evaluation import ais, archives, curves
from kgzoo.training import run_folder

ROOT = pathlib.Path(__file__).resolve().parent.parent

# --- what the sources may not do

_UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
_UNPACKERS = {"tarfile", "patoolib", "py7zr", "rarfile"}
_NEVER = {"extractall", "unpack_archive", "enable_unsafe_deserialization", "read_pickle"}
_BUILTINS = {"eval", "exec", "compile", "__import__"}
# Who opens archives, and reads their members in place.
_ZIP_READERS = {"kgzoo/evaluation/archives.py"}


def complaints(source: str, name: str) -> list[str]:
    """Returns what a source does that would run or unpack what a stranger wrote."""
    found = []
    for node in ast.walk(ast.parse(source)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        tops = {module.split(".")[0] for module in modules}
        found += [f"imports {top}" for top in tops & (_UNPICKLERS | _UNPACKERS)]
        if isinstance(node, ast.Call):
            found += _of_call(node, name)
    return found


def _of_call(node: ast.Call, name: str) -> list[str]:
    function = node.func
    called = getattr(function, "attr", getattr(function, "id", ""))
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    found = [f"calls {called}"] if called in _NEVER else []
    if isinstance(function, ast.Name) and called in _BUILTINS:
        found.append(f"calls {called}")
    if owner in ("np", "numpy") and called == "load" and options.get("allow_pickle") != "False":
        found.append("np.load without allow_pickle=False")
    if owner in ("np", "numpy") and called in ("save", "savez", "savez_compressed"):
        if options.get("allow_pickle", "False") != "False":
            found.append(f"np.{called} with pickle")
    if options.get("safe_mode", "True") != "True":
        found.append(f"{called} with safe_mode={options['safe_mode']}")
    if options.get("shell", "False") != "False":
        found.append(f"{called} with a shell")
    if called in ("ZipFile", "is_zipfile") and name not in _ZIP_READERS:
        found.append("opens an archive")
    if owner == "torch" and called == "load" and options.get("weights_only") != "True":
        found.append("torch.load without weights_only=True")
    return found


class SourcesTest(unittest.TestCase):
    def test_nothing_unpickles_unpacks_or_runs_text(self):
        for folder in ("kgzoo", "configs", "benchmarks"):
            for path in sorted((ROOT / folder).rglob("*.py")):
                name = path.relative_to(ROOT).as_posix()
                self.assertEqual(complaints(path.read_text(encoding="utf-8"), name), [], name)

    def test_each_rule_has_a_bad_example(self):
        for bad in (
            *("import pickle", "from joblib import load", "import os, dill.source"),
            *("import marshal", "import tarfile", "from shelve import open"),
            *("np.load(p)", "np.load(p, allow_pickle=True)", "numpy.load(p, None, options)"),
            *("np.savez(p, allow_pickle=True, a=a)", "archive.extractall()"),
            *("shutil.unpack_archive(p)", "keras.saving.load_model(p, safe_mode=False)"),
            *("keras.config.enable_unsafe_deserialization()", "eval(text)", "exec(text)"),
            *("subprocess.run(line, shell=True)", "zipfile.ZipFile(p)", "torch.load(p)"),
        ):
            self.assertNotEqual(complaints(bad, "kgzoo/x.py"), [], bad)
        for good in (
            *("np.load(p, allow_pickle=False)", "keras.saving.load_model(p)", "re.compile(text)"),
            *("spec.loader.exec_module(module)", "torch.load(p, weights_only=True)"),
        ):
            self.assertEqual(complaints(good, "kgzoo/x.py"), [], good)

    def test_nobody_is_told_to_leave_safe_mode(self):
        for path in [ROOT / "README.md", *sorted((ROOT / "kgzoo").rglob("*.py"))]:
            text = path.read_text(encoding="utf-8").replace(" ", "")
            self.assertNotIn("safe_mode=False", text, path)


class Folder(parameterized.TestCase):
    """A folder inside another: what is written outside shows."""

    def setUp(self):
        super().setUp()
        self.outside = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.folder = self.outside / "inside" / "run"
        self.folder.mkdir(parents=True)

    def files_outside(self):
        return [
            path.relative_to(self.outside).as_posix()
            for path in self.outside.rglob("*")
            if path.is_file() and self.folder not in path.parents
        ]


class _Trap:
    """A pickle of this makes a folder when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _npy(array, **options):
    content = io.BytesIO()
    np.lib.format.write_array(content, array, **options)
    return content.getvalue()


def _header(shape, descr="<f8"):
    """A member that claims a shape and holds eight bytes."""
    content = io.BytesIO()
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, fields)
    return content.getvalue() + bytes(8)


class ArchivesTest(Folder):
    def write(self, members, compression=zipfile.ZIP_DEFLATED):
        path = self.folder / "arrays.npz"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    def test_what_is_written_is_read(self):
        path = self.folder / "arrays.npz"
        arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros((0, 4), np.int8)}
        archives.write(path, "mine", arrays)
        found = archives.read(path, "mine")
        self.assertEqual(set(found), set(arrays))
        np.testing.assert_array_equal(found["a"], arrays["a"])
        self.assertIsNone(archives.read(path, "another"))
        with open(path, "rb") as file:
            self.assertEqual(set(archives.load(file)), {*arrays, "description"})

    def test_member_names_are_names_and_no_paths(self):
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        names = ("../../evil.npy", "/evil.npy", f"{self.outside}/evil.npy", "..\\evil.npy", link)
        path = self.write({name: _npy(np.zeros(2)) for name in names})
        found = archives.load(path)
        self.assertLen(found, len(names))
        self.assertEqual(self.files_outside(), [])
        self.assertEqual([path.name for path in self.folder.iterdir()], ["arrays.npz"])

    def test_more_than_the_limit_is_not_read(self):
        small = self.write({"a.npy": _npy(np.zeros(100_000))})
        self.assertLess(small.stat().st_size, 5_000)
        self.assertLen(archives.load(small), 1)
        with self.assertRaisesRegex(ValueError, "more than 100000"):
            archives.load(small, limit_bytes=100_000)

    @parameterized.named_parameters(
        ("petabyte", _header((10**15,))),
        ("negative", _header((-1, -8))),
        ("overflow", _header((2**40, 2**40, 2**40))),
        ("longer", _header((1000,))),
        ("objects", _header((1,), "|O")),
        ("nested_dtype", _header((1,), [("a", "<f8", (10**9,))])),
        ("no_header", b"abc"),
        ("empty", b""),
        ("python", b"\x93NUMPY\x01\x00\x20\x00__import__('os').mkdir('executed')\n"),
        ("version", b"\x93NUMPY\x09\x00\x20\x00"),
    )
    def test_headers_that_lie(self, content):
        path = self.write({"description.npy": _npy(np.array("mine")), "a.npy": content})
        self.assertIsNone(archives.read(path, "mine"))
        with self.assertRaises(archives.DAMAGES):
            archives.load(path)

    def test_pickles_stay_closed(self):
        trap = np.array([_Trap(self.outside / "executed")], dtype=object)
        members = {"description.npy": _npy(np.array("mine"))}
        for content in (_npy(trap, allow_pickle=True), pickle.dumps(trap)):
            path = self.write({**members, "a.npy": content})
            self.assertIsNone(archives.read(path, "mine"))
        path.write_bytes(pickle.dumps(trap))
        self.assertIsNone(archives.read(path, "mine"))
        self.assertFalse((self.outside / "executed").exists())

    def test_damage_of_any_kind_is_no_arrays(self):
        path = self.folder / "arrays.npz"
        archives.write(path, "mine", {"a": np.arange(50.0), "b": np.arange(7)})
        whole = path.read_bytes()
        random, survived = np.random.RandomState(0), 0
        damaged = [whole[:size] for size in range(0, len(whole), 37)]
        for _ in range(200):
            content = bytearray(whole)
            for place in random.randint(len(whole), size=random.randint(1, 9)):
                content[place] = random.randint(256)
            damaged.append(bytes(content))
        for content in damaged:
            path.write_bytes(content)
            found = archives.read(path, "mine")
            # Of a bit that says nothing, such as a time.
            survived += found is not None
            self.assertTrue(found is None or all(a.dtype.kind in "fiub" for a in found.values()))
        self.assertLess(survived, len(damaged) // 2)


_DEEP = "[" * 100_000
_RECORD = {
    "config": {"method": "hinge", "dataset": "ring2d", "steps": 3},
    "data": {"kind": "vector", "shape": [2], "name": "ring2d"},
    "runtime": {"device": "CPU"},
}


def _record(**changes):
    """config.json of a run, with fields such as data__shape changed, or left out for None."""
    content = json.loads(json.dumps(_RECORD))
    for field, value in changes.items():
        part, _, name = field.partition("__")
        if value is None and name:
            del content[part][name]
        elif name:
            content[part][name] = value
        else:
            content[part] = value
    return json.dumps(content)


_CONFIGS = {
    "empty": "",
    "text": "hello",
    "bytes": b"\xff\xfe\x00\x01",
    "utf16": json.dumps(_RECORD).encode("utf-16"),
    "deep": _DEEP,
    "deep_object": '{"config": ' * 50_000,
    "list": "[1, 2]",
    "number": "3",
    "null": "null",
    "huge_number": '{"config": ' + "9" * 10_000 + "}",
    "no_data": '{"config": {"method": "hinge", "dataset": "ring2d"}}',
    "config_list": _record(config=[1]),
    "config_text": _record(config="hinge"),
    "data_list": _record(data=[2]),
    "runtime_text": _record(runtime="CPU"),
    "no_method": _record(config__method=None),
    "method_number": _record(config__method=3),
    "method_list": _record(config__method=["hinge"]),
    "method_unknown": _record(config__method="hing"),
    "field_text": _record(config__steps="__import__('os')"),
    "field_nan": _record(config__scale_weight=float("nan")),
    "field_huge": _record(config__steps=10**400),
    "field_object": _record(config__bandwidths={"a": 1}),
    "kind": _record(data__kind="sound"),
    "kind_and_shape": _record(data__kind="image"),
    "no_shape": _record(data__shape=None),
    "shape_text": _record(data__shape="ab"),
    "shape_huge": _record(data__shape=[10**12], data__kind="vector"),
    "shape_gigabyte": _record(data__shape=[40_000, 40_000, 3], data__kind="image"),
    "shape_negative": _record(data__shape=[-2]),
    "shape_float": _record(data__shape=[2.5]),
    "shape_empty": _record(data__shape=[]),
}
_OTHERS = ("", "hello", b"\xff\xfe", _DEEP, "[]", "3", "null", '{"step": []}', '{"step": 1e999}')


def _bytes(content):
    return content if isinstance(content, bytes) else content.encode()


class RunFoldersTest(Folder):
    def write(self, name, content):
        (self.folder / name).write_bytes(_bytes(content))

    def run_verb(self, verb, *argv):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with contextlib.chdir(self.outside), self.assertRaises(SystemExit) as end:
                cli.run(verb.main, ["kgzoo", *map(str, argv)])
        return end.exception.code, out.getvalue(), err.getvalue()

    @parameterized.named_parameters(_CONFIGS.items())
    def test_config_is_refused_in_a_sentence(self, content):
        self.write("config.json", content)
        with self.assertRaises(UserError) as caught:
            run_folder.load_run(self.folder)
        self.assertIsNone(fuzzing.sentence(str(caught.exception)), str(caught.exception))

    def test_verbs_say_the_same(self):
        for name in ("deep", "bytes", "shape_gigabyte", "config_list"):
            self.write("config.json", _CONFIGS[name])
            for verb in (export, evaluate):
                code, _, err = self.run_verb(verb, self.folder)
                self.assertEqual((code, err.count("\n")), (2, 1), err)
                self.assertIn("config.json", err)
        self.assertEqual(self.files_outside(), [])

    def test_a_report_shows_what_there_is(self):
        for content in (*_OTHERS, '{"step": 1, "critic_loss": "</script><script>alert(1)"}'):
            for name in ("scores.json", "result.json", "metrics.jsonl", "spectra.jsonl"):
                self.write(name, content)
            self.write("config.json", _record())
            code, _, err = self.run_verb(report, self.folder, "--to=page.html")
            self.assertIn(code, (0, 2), err)
            self.assertLessEqual(err.count("\n"), 1)
            page = self.outside / "page.html"
            if page.exists():
                self.assertNotIn("<script>alert(1)", page.read_text())
                page.unlink()

    def test_other_records_are_no_traceback(self):
        for content in _OTHERS:
            for name in ("scores.json", "result.json"):
                self.write(name, content)
            self.assertIsNone(results.finished_step(self.folder))
            self.assertIsNone(export._scores(self.folder, 7))
            self.write("metrics.jsonl", content)
            self.assertIsInstance(curves.read_series(self.folder / "metrics.jsonl"), dict)

    def test_a_link_to_elsewhere_is_not_told(self):
        secret = self.outside / "secret"
        secret.write_text("the password")
        (self.folder / "config.json").symlink_to(secret)
        with self.assertRaises(UserError) as caught:
            run_folder.load_run(self.folder)
        self.assertNotIn("password", str(caught.exception))

    def test_an_estimate_of_a_stranger(self):
        def estimate():
            ais.estimate(
                lambda z: z,
                np.zeros((2, 2), np.float32),
                2,
                chains=1,
                temperatures=2,
                leapfrog_steps=1,
                step_size=0.1,
                folder=self.folder,
                jit=False,
            )

        for content in (_DEEP, "[]", '{"fingerprint": 3, "step_size": 1}'):
            self.write("settings.json", content)
            with self.assertRaisesRegex(UserError, "settings.json cannot be read"):
                estimate()
        (self.folder / "settings.json").unlink()
        estimate()
        trap = np.array([_Trap(self.outside / "executed")], dtype=object)
        for content in (b"", b"abc", pickle.dumps(trap)):
            for path in self.folder.glob("points-*.npz"):
                path.write_bytes(content)
            with self.assertRaisesRegex(UserError, "points-.* delete that file"):
                estimate()
        self.assertFalse((self.outside / "executed").exists())

    def test_exports_that_are_none(self):
        for content in (b"", b"\xff" * 100, b"hello"):
            self.write("saved_model.pb", content)
            with self.assertRaises(UserError) as caught:
                serving.signature_names(self.folder)
            self.assertIsNone(fuzzing.sentence(str(caught.exception)))
            with self.assertRaises(UserError):
                serving.sample_export(self.folder, 1)


class KerasFilesTest(Folder):
    """`.keras` files are read by Keras in its safe mode; our classes open no way around it."""

    def model(self, config):
        path = self.folder / "model.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))
            archive.writestr("config.json", config)
            archive.writestr("model.weights.h5", b"")
            archive.writestr("../../evil", b"evil")
        return path

    def refused(self, path):
        with self.assertRaises(Exception) as caught:
            keras.saving.load_model(path)
        self.assertFalse((self.outside / "executed").exists())
        self.assertEqual(self.files_outside(), [])
        return str(caught.exception)

    def test_code_in_a_lambda(self):
        executed = str(self.outside / "executed")
        code = compile(f"lambda x: __import__('os').mkdir({executed!r})", "f", "eval").co_consts[0]
        function = {
            "class_name": "__lambda__",
            "config": {
                "code": base64.b64encode(marshal.dumps(code)).decode(),
                "defaults": None,
                "closure": None,
            },
        }
        layer = {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"name": "l", "function": function, "arguments": {}},
            "registered_name": None,
        }
        self.assertRegex(self.refused(self.model(json.dumps(layer))), "safe_mode|lambda")

    def test_objects_of_other_modules(self):
        system = {"module": "os", "class_name": "mkdir", "config": {}, "registered_name": None}
        function = {**system, "class_name": "function", "config": "mkdir"}
        for inner in (system, function, {"class_name": "os.mkdir"}, 3, None, "os.mkdir"):
            nested = {
                "module": None,
                "class_name": "Sum",
                "config": {"kernels": [inner], "weights": [1.0]},
                "registered_name": "kgzoo>Sum",
            }
            for config in (nested, inner):
                self.refused(self.model(json.dumps(config)))
            with self.assertRaises((ValueError, TypeError)):
                kernels.Sum.from_config(nested["config"])

    def test_damage(self):
        path = self.model(_DEEP)
        self.refused(path)
        for content in (b"", b"PK\x03\x04", b"\xff" * 100):
            path.write_bytes(content)
            self.refused(path)


class CardsTest(unittest.TestCase):
    def test_a_resolved_config_is_data(self):
        # What a stranger's run recorded is parsed, never evaluated.
        for text in ("__import__('os').mkdir('x')", "[].__class__", "open('x')", "1if 1else 2"):
            with self.assertRaises(UserError):
                compose(overrides={"steps": text})


if __name__ == "__main__":
    unittest.main()
