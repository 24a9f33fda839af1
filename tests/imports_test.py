"""Holds the layout: which module may import which, and what every source file owes its reader.

Reads the sources with `ast` and `re`; nothing of kgzoo is imported, so it runs with bare Python.
Each rule is a function (source or tree in, list of complaints out), and each has a bad example.
"""

import ast
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LONGEST_FILE_LINES = 400
# The catalogue is one table, to be read at a glance: it grows by a dozen lines a method.
TABLES = {"kgzoo.catalog"}

# Imports go from a higher number to a lower one. Anyone may import kgzoo.errors and kgzoo.catalog.
RANKS = {
    "__version__": 0,  # the string in kgzoo/__init__.py
    "errors": 0,
    "outside": 0,
    "catalog": 0,
    "fields": 1,
    "locks": 1,
    "presets": 1,
    "kernels": 1,
    "layers": 1,
    "discrepancies": 2,
    "regularizers": 2,
    "networks": 2,
    "methods": 3,
    "data": 3,
    "evaluation": 3,
    "config": 4,
    "training": 5,
    "serving": 5,
    "cli": 5,
    "results": 6,
    "reproductions": 6,
    "reporting": 6,
    "zoo": 6,
    "main": 7,
    "evaluate": 7,
    "export": 7,
    "reproduce": 7,
    "report": 7,
    "__main__": 8,
    "": 8,  # kgzoo/__init__.py
}
# What the families share: base, theirs to subclass, and the parts it is made of.
FAMILY_FREE = {
    f"kgzoo.methods.{part}"
    for part in (
        *("base", "average", "noise", "augmentation", "inputs", "persistence", "sampling"),
        *("schedule", "critic_passes", "fixed_kernel", "trained_kernel", "dropout"),
        *("latent_objective", "latent_paths", "latent_tools", "nearest", "truncation", "precision"),
    )
}
WITHIN_A_RANK = {
    *(("catalog", "errors"), ("catalog", "outside"), ("outside", "errors")),
    ("evaluation", "data"),
}
VERBS = ("main", "evaluate", "export", "reproduce", "report")
LIGHT_AREAS = (
    *(*VERBS, "__main__", "catalog", "outside", "config"),
    *("fields", "cli", "errors", "presets"),
)
LIGHT = {"kgzoo", *(f"kgzoo.{area}" for area in LIGHT_AREAS)}
LIGHT_IMPORTS = {"absl", "ml_collections", "kgzoo.__version__", *LIGHT, *sys.stdlib_module_names}
CARD_IMPORTS = {"ml_collections", "kgzoo.errors", "kgzoo.catalog", "kgzoo.config"}
CARD_IMPORTS |= set(sys.stdlib_module_names)

DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common_utils"}
# Written with brackets so that this file does not find itself.
PRIVATE = re.compile(
    r"(?<![\w.$}])/(?:wor[k]|roo[t]|far[m]|hom[e]/\w+|User[s]/\w+)/"
    r"|py[p]i\.org|py[p]i\.python\.org|registry\.npm[j]s|files\.pythonhoste[d]"
)
UNFINISHED = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X])\b|NotImplementedErro[r]")


def module_name(path: pathlib.PurePath) -> str:
    """Returns the dotted name of a source file given relative to the root."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, name: str, is_package: bool, modules: set[str]) -> list[str]:
    """Returns the modules that the import statements below `tree` name, relative ones resolved."""
    known = modules | {f"kgzoo.{area}" for area in RANKS if area}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.append(full if full in known else base)
    return list(dict.fromkeys(found))


def at_import_time(tree: ast.Module) -> ast.Module:
    """Returns what of a module runs when it is imported: no function bodies, no TYPE_CHECKING."""

    class Prune(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return None

        visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

        def visit_If(self, node):
            if "TYPE_CHECKING" in ast.unparse(node.test):
                return None
            return self.generic_visit(node)

    return Prune().visit(ast.parse(ast.unparse(tree)))


def arrow_complaints(name: str, imports: list[str]) -> list[str]:
    """Imports inside kgzoo that point upwards, sideways, or from one method family to another."""
    complaints = []
    _, _, rest = name.partition(".")
    area = rest.split(".")[0]
    if area not in RANKS:
        return [f"{name}: {area!r} has no rank in RANKS of this test"]
    for target in imports:
        top, _, other = target.partition(".")
        if top != "kgzoo":
            continue
        other_area = other.split(".")[0]
        if other_area not in RANKS:
            complaints.append(f"{name} imports {target}, which has no rank in RANKS of this test")
        elif other_area == "":
            # The package itself gives the version; what it re-exports comes from below.
            if RANKS[area] <= RANKS["config"]:
                complaints.append(f"{name} imports the package kgzoo, which stands above it")
        elif area != other_area and (area, other_area) not in WITHIN_A_RANK:
            if RANKS[other_area] >= RANKS[area]:
                complaints.append(f"{name} imports {target}: that arrow points the wrong way")
        elif area == other_area == "methods" and name not in ("kgzoo.methods", target):
            if target not in FAMILY_FREE:
                complaints.append(f"{name} imports {target}; a family imports only methods.base")
    return complaints


def heavy_complaints(name: str, imports: list[str], allowed: set[str]) -> list[str]:
    """Imports that are neither allowed themselves nor part of an allowed package of others."""
    complaints = []
    for target in imports:
        top = target.split(".")[0]
        if target not in allowed and (top == "kgzoo" or top not in allowed):
            complaints.append(f"{name} imports {target} at module top; import it where it is used")
    return complaints


def dispatch_complaints(name: str, tree: ast.AST) -> list[str]:
    """Decisions by a method's name: a literal compared with, or matched against, `...method`."""

    def is_method(node):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return is_method(node.func.value)  # method.lower()
        if isinstance(node, ast.Subscript):
            return isinstance(node.slice, ast.Constant) and node.slice.value == "method"
        spelled = getattr(node, "id", None) or getattr(node, "attr", None)
        return spelled in ("method", "method_name")

    def has_text(node):
        constants = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
        return not is_method(node) and any(isinstance(value, str) and value for value in constants)

    complaints = []
    for node in ast.walk(tree):
        found = False
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            found = any(map(is_method, sides)) and any(map(has_text, sides))
        elif isinstance(node, ast.Match):
            found = is_method(node.subject)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found = node.func.attr in ("startswith", "endswith") and is_method(node.func.value)
        if found:
            complaints.append(
                f"{name}:{node.lineno} decides by a method's name; give the row a field"
            )
    return complaints


def shape_complaints(name: str, source: str, needs_all: bool) -> list[str]:
    """A missing docstring or `__all__`, a name that says nothing, too many lines, loose ends."""
    tree = ast.parse(source)
    complaints = []
    if not ast.get_docstring(tree):
        complaints.append(f"{name} has no module docstring")
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    # A package that is nothing but its docstring has nothing to list.
    needs_all = needs_all and len(tree.body) > 1
    if needs_all and "__all__" not in [getattr(target, "id", "") for target in targets]:
        complaints.append(f"{name} has no __all__")
    if name.split(".")[-1] in DRAWERS:
        complaints.append(f"{name} is a drawer for everything; name it after what it holds")
    if name not in TABLES and source.count("\n") > LONGEST_FILE_LINES:
        complaints.append(f"{name} is longer than {LONGEST_FILE_LINES} lines")
    if found := UNFINISHED.search(source):
        complaints.append(f"{name} is unfinished: {found.group()}")
    return complaints


def private_complaints(name: str, text: str) -> list[str]:
    """Paths of one machine, and hosts of package registries."""
    return [f"{name}: {found.group()!r} belongs to one machine" for found in PRIVATE.finditer(text)]


def python_files(folder: str) -> list[pathlib.Path]:
    """Returns the Python files below a top-level folder, relative to the root."""
    return sorted(path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py"))


def project_files() -> list[pathlib.Path]:
    """Returns the files that git knows or would add; without git, the source folders' files."""
    listing = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    if (ROOT / ".git").exists():
        names = subprocess.run(listing, capture_output=True, check=True).stdout.decode().split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    folders = [ROOT / name for name in ("kgzoo", "configs", "tests", ".ci", "benchmarks")]
    below = [path for folder in folders for path in folder.rglob("*")]
    return [path for path in [*ROOT.glob("*"), *below] if path.is_file()]


class RepositoryTest(unittest.TestCase):
    """The rules, applied to the project as it stands."""

    def setUp(self):
        self.package = {module_name(path): path for path in python_files("kgzoo")}
        self.cards = {module_name(path): path for path in python_files("configs")}
        self.assertIn("kgzoo", self.package)

    def test_arrows_point_one_way(self):
        complaints = []
        for name, path in self.package.items():
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            is_package = path.name == "__init__.py"
            imports = imported(tree, name, is_package, set(self.package))
            complaints += arrow_complaints(name, imports)
        self.assertEqual(complaints, [])

    def test_verbs_and_cards_import_nothing_heavy(self):
        complaints = []
        for name, path in {**self.package, **self.cards}.items():
            if name not in LIGHT and name not in self.cards:
                continue
            tree = at_import_time(ast.parse((ROOT / path).read_text(encoding="utf-8")))
            imports = imported(tree, name, path.name == "__init__.py", set(self.package))
            allowed = CARD_IMPORTS if name in self.cards else LIGHT_IMPORTS
            complaints += heavy_complaints(name, imports, allowed)
        self.assertEqual(complaints, [])

    def test_only_the_catalogue_knows_method_names(self):
        complaints = []
        for name, path in self.package.items():
            if name != "kgzoo.catalog":
                tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
                complaints += dispatch_complaints(name, tree)
        self.assertEqual(complaints, [])

    def test_every_module_is_finished_and_in_shape(self):
        complaints = []
        for name, path in {**self.package, **self.cards}.items():
            source = (ROOT / path).read_text(encoding="utf-8")
            complaints += shape_complaints(name, source, needs_all=name in self.package)
        self.assertEqual(complaints, [])

    def test_nothing_belongs_to_one_machine(self):
        complaints = []
        for path in project_files():
            data = path.read_bytes()
            if b"\0" not in data:
                text = data.decode("utf-8", errors="replace")
                complaints += private_complaints(str(path.relative_to(ROOT)), text)
        self.assertEqual(complaints, [])


class RulesTest(unittest.TestCase):
    """Each rule refuses a bad example and lets the good one beside it pass."""

    MODULES = {"kgzoo", "kgzoo.methods", "kgzoo.methods.gan", "kgzoo.methods.base", "kgzoo.kernels"}

    def arrows(self, name, source):
        return arrow_complaints(name, imported(ast.parse(source), name, False, self.MODULES))

    def test_arrows(self):
        bad = {
            "kgzoo.kernels.base": "def f():\n    from kgzoo.methods import base",
            "kgzoo.networks.mlp": "import kgzoo.layers.x, kgzoo.regularizers",
            "kgzoo.methods.smmd": "from kgzoo.methods import gan",
            "kgzoo.methods.vae": "from . import gan",
            "kgzoo.data.images": "from ..evaluation import features",
            "kgzoo.layers": "import kgzoo",
            "kgzoo.drawer": "import os",
            "kgzoo.serving.card": "from kgzoo.training import loop",
        }
        for name, source in bad.items():
            with self.subTest(name):
                self.assertEqual(len(self.arrows(name, source)), 1)
        self.assertEqual(self.arrows("kgzoo.methods.smmd", "from kgzoo.methods import base"), [])
        self.assertEqual(self.arrows("kgzoo.methods", "from kgzoo.methods import gan"), [])
        self.assertEqual(self.arrows("kgzoo.evaluation.x", "from kgzoo.data import load"), [])
        self.assertEqual(self.arrows("kgzoo.main", "from kgzoo.training import loop"), [])

    def test_heavy(self):
        source = "import os\nimport {0}\ndef f():\n    import tensorflow\n"

        def complaints(module, allowed=LIGHT_IMPORTS):
            tree = at_import_time(ast.parse(source.format(module)))
            return heavy_complaints("x", imported(tree, "kgzoo.main", False, set()), allowed)

        self.assertEqual(complaints("absl.flags"), [])
        for module in ("numpy", "tensorflow as tf", "kgzoo.training"):
            self.assertEqual(len(complaints(module)), 1, module)
        self.assertEqual(len(complaints("absl", CARD_IMPORTS)), 1)

    def test_dispatch(self):
        bad = [
            "if method == 'gan': pass",
            "x = config.method in ('gan', 'hinge')",
            "x = config['method'] != 'gan'",
            "config.method.startswith('sn_')",
            "match config.method:\n    case 'gan': pass",
        ]
        for source in bad:
            self.assertEqual(len(dispatch_complaints("x", ast.parse(source))), 1, source)
        good = "if config.method == saved.method or method in rows or method == '': pass"
        self.assertEqual(dispatch_complaints("x", ast.parse(good)), [])

    def test_shape(self):
        good = '"""What."""\n__all__ = []\n'
        self.assertEqual(shape_complaints("kgzoo.x", good, True), [])
        self.assertEqual(shape_complaints("kgzoo.x", '"""What."""\n', True), [])
        bad = {
            "kgzoo.a": "__all__ = []\n",
            "kgzoo.b": '"""What."""\nx = 1\n',
            "kgzoo.utils": good,
            "kgzoo.c": good + "\n" * LONGEST_FILE_LINES,
            "kgzoo.d": good + "# TO" + "DO later\n",
        }
        for name, source in bad.items():
            self.assertEqual(len(shape_complaints(name, source, True)), 1, name)

    def test_private(self):
        for text in ("see /wor" + "k/main", "open('/roo" + "t/x')", "https://py" + "pi.org/simple"):
            self.assertEqual(len(private_complaints("x", text)), 1, text)
        # In pieces, so that a search for such paths does not find this line.
        harmless = "runs/" + "work/x ../" + "root/y https://a.b/" + "work/"
        self.assertEqual(private_complaints("x", harmless), [])


if __name__ == "__main__":
    unittest.main()
