"""Write docs/API.md, the reference of the public API, from signatures and docstrings.

  python docs/build.py              writes docs/API.md
  python docs/build.py --check      exit code 1 when the file is not what it would write

Sources are parsed and never imported, so that the page depends on them alone, and bare Python does.
What is public is what a module's `__all__` names.
"""

import ast
import inspect
import pathlib
import re
import sys
from collections.abc import Iterator

__all__ = ["main", "render"]

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "API.md"
# Modules that are not there are left out; each object stands where it is met first.
_LOADED = tuple(f"kgzoo.{name}" for name in ("zoo", "presets"))
_LOADED += tuple(
    f"kgzoo.methods.{name}"
    for name in ("sampling", "latent_tools", "latent_paths", "truncation", "nearest")
)
_FAMILIES = tuple(
    f"kgzoo.methods.{name}"
    for name in (
        *("base", "gan", "mmd_gan", "smmd", "gradient_constrained", "mmd_net", "kernel_gan"),
        *("gram", "vae", "fixed_kernel", "trained_kernel", "precision"),
    )
)
# Title, and the modules in their order; `x.*` stands for the modules of package x.
CHAPTERS = (
    ("Loading, sampling, fine-tuning", ("kgzoo", *_LOADED)),
    ("The zoo and its settings", ("kgzoo.catalog", "kgzoo.config", "kgzoo.errors")),
    ("Data", ("kgzoo.data",)),
    ("Methods", ("kgzoo.methods", *_FAMILIES)),
    ("Kernels", ("kgzoo.kernels", "kgzoo.kernels.bandwidths")),
    ("Discrepancies", ("kgzoo.discrepancies.*",)),
    ("Regularizers and spectral layers", ("kgzoo.regularizers", "kgzoo.layers")),
    ("Networks", ("kgzoo.networks",)),
    (
        "Evaluation",
        tuple(
            f"kgzoo.evaluation.{name}"
            for name in (
                *("scores", "score_card", "features", "lenet_scores", "modes", "neighbours"),
                *("two_sample", "similarity", "relative_similarity", "ais", "pictures"),
                *("galleries", "embeddings", "curves"),
            )
        ),
    ),
    ("Serving", ("kgzoo.serving", "kgzoo.serving.signatures", "kgzoo.serving.interpolation")),
)
_WIDEST = 88
_SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "References")
_HEADING = re.compile(rf"^({'|'.join(_SECTIONS)}):(?: (.*))?$")
_ITEM = re.compile(r"^(\*{0,2}\w[\w, *]*|`[^`]+`): +(.*)$")
_Definition = ast.ClassDef | ast.FunctionDef


def render() -> str:
    """Returns the page."""
    contents, body = [], []
    seen: set[tuple[str, str]] = set()
    for title, patterns in CHAPTERS:
        modules = [module for pattern in patterns for module in _modules(pattern)]
        parts = [(module, part) for module in modules if (part := _module(module, seen))]
        if parts:
            links = ", ".join(f"[`{module}`](#{_anchor(module)})" for module, _ in parts)
            contents.append(f"- {title}: {links}")
            body += [f"## {title}", *(part for _, part in parts)]
    head = [
        "# API reference",
        "Made from the docstrings by `python docs/build.py`; do not edit. `n`, `m` are examples, "
        "`d` features; images are `[n, h, w, c]`. A user's mistake raises `kgzoo.errors.UserError`,"
        " a `ValueError` of one sentence.",
        "\n".join(contents),
    ]
    return "\n\n".join([*head, *body]) + "\n"


def _modules(pattern: str) -> list[str]:
    """Returns the modules that exist; those of a package without the package itself."""
    if not pattern.endswith(".*"):
        return [pattern] if _file(pattern) else []
    folder = ROOT.joinpath(*pattern[:-2].split("."))
    stems = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return [f"{pattern[:-2]}.{stem}" for stem in stems]


def _file(module: str) -> pathlib.Path | None:
    path = ROOT.joinpath(*module.split("."))
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.is_file():
            return found
    return None


def _anchor(module: str) -> str:
    return module.replace(".", "")


def _module(module: str, seen: set[tuple[str, str]]) -> str:
    """Returns a module's part of the page; empty when nothing public in it is new."""
    tree = _tree(module)
    shown = []
    for name in _public(tree):
        place = None if name.startswith("__") else _resolve(module, name)
        if place and (place[0], name) not in seen:
            seen.add((place[0], name))
            shown.append(_object(name, *place))
    if not shown:
        return ""
    source = _file(module).relative_to(ROOT).as_posix()
    head = f"### {module}\n\n[source](../{source})"
    return "\n\n".join([head, _text(ast.get_docstring(tree) or ""), *shown])


def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def _public(tree: ast.Module) -> list[str]:
    """Returns the names in `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [e.value for e in ast.walk(node.value) if isinstance(e, ast.Constant)]
    return []


def _resolve(module: str, name: str) -> tuple[str, _Definition] | None:
    """Returns the module that defines a name, and its definition; None for other objects."""
    tree = _tree(module)
    for node in tree.body:
        if isinstance(node, _Definition) and node.name == name:
            return module, node
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("kgzoo"):
            if any((alias.asname or alias.name) == name for alias in node.names):
                return _resolve(node.module, name) if _file(node.module) else None
        # What a module's `__getattr__` imports when it is asked for: {"name": "kgzoo.module"}.
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            texts = {getattr(k, "value", None): getattr(v, "value", None) for k, v in pairs}
            target = str(texts.get(name, "")).partition(":")[0]
            if target.startswith("kgzoo.") and _file(target):
                return _resolve(target, name)
    return None


def _object(name: str, module: str, node: _Definition) -> str:
    kind = "class" if isinstance(node, ast.ClassDef) else "function"
    source = _file(module).relative_to(ROOT).as_posix()
    parts = [f"#### {name}", f"{kind} [`{module}.{name}`](../{source})"]
    if kind == "function":
        parts += [_fenced(_signature(name, node.args, node.returns)), _doc(node)]
        return "\n\n".join(filter(None, parts))
    constructor = next((n for n in _functions(node) if n.name == "__init__"), None)
    if constructor is not None:
        parts.append(_fenced(_signature(name, constructor.args, None, skip=1)))
    elif fields := [n for n in node.body if isinstance(n, ast.AnnAssign)]:
        shown = [_field(field) for field in fields]
        parts.append(_fenced(_call(name, shown)))
    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    parts.append(f"Derives from {', '.join(f'`{base}`' for base in bases)}." if bases else "")
    parts += [_doc(node), *_members(node)]
    return "\n\n".join(filter(None, parts))


def _field(node: ast.AnnAssign) -> str:
    default = f" = {ast.unparse(node.value)}" if node.value else ""
    return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}{default}"


def _functions(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (n for n in node.body if isinstance(n, ast.FunctionDef))


def _members(node: ast.ClassDef) -> Iterator[str]:
    """Yields the public methods and properties that have a docstring, each a part."""
    for function in _functions(node):
        if function.name.startswith("_") or not ast.get_docstring(function):
            continue
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        if "property" in decorators:
            returns = f": {ast.unparse(function.returns)}" if function.returns else ""
            head = f"**{node.name}.{_escaped(function.name)}** `property{returns}`"
            yield f"{head}\n\n{_doc(function)}"
        else:
            skip = 0 if "staticmethod" in decorators else 1
            shown = _signature(function.name, function.args, function.returns, skip)
            head = f"**{node.name}.{_escaped(function.name)}**"
            yield f"{head}\n\n{_fenced(shown)}\n\n{_doc(function)}"


def _signature(name: str, args: ast.arguments, returns: ast.expr | None, skip: int = 0) -> str:
    """Returns a call with types and defaults; the first `skip` arguments are left out."""
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    shown = [_argument(a, d) for a, d in zip(positional, defaults, strict=True)][skip:]
    if args.vararg:
        shown.append("*" + _argument(args.vararg, None))
    elif args.kwonlyargs:
        shown.append("*")
    shown += [_argument(a, d) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    if args.kwarg:
        shown.append("**" + _argument(args.kwarg, None))
    return _call(name, shown, f" -> {ast.unparse(returns)}" if returns is not None else "")


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    if default is None:
        return argument.arg + kind
    return f"{argument.arg}{kind}{' = ' if kind else '='}{ast.unparse(default)}"


def _call(name: str, arguments: list[str], returns: str = "") -> str:
    line = f"{name}({', '.join(arguments)}){returns}"
    if len(line) <= _WIDEST:
        return line
    return "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), f"){returns}"])


def _fenced(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}\n```"


def _doc(node: _Definition) -> str:
    return _text(ast.get_docstring(node) or "")


def _text(docstring: str) -> str:
    """Returns a Google docstring as Markdown: sections as lists, formulas and tables fenced."""
    blocks, section = [], ""
    for block in re.split(r"\n\s*\n", docstring):
        lines = block.splitlines()
        heading = _HEADING.match(lines[0]) if lines else None
        if heading:
            section = heading[1]
            rest = inspect.cleandoc("\n" + "\n".join(lines[1:]))
            body = f"{heading[2]}\n{rest}".strip() if heading[2] else rest
            blocks.append(f"**{section}**" + (f"\n\n{_listed(body)}" if body else ""))
        elif lines and section and lines[0].startswith("    "):
            blocks.append(_listed(inspect.cleandoc("\n" + block)))
        elif any(re.match(r"\s", line) or re.search(r"\S {3,}\S", line) for line in lines):
            blocks.append(_fenced(block, "text"))
        elif lines:
            blocks.append(_escaped(" ".join(line.strip() for line in lines)))
    return "\n\n".join(blocks)


def _listed(body: str) -> str:
    """Returns the lines of a section: items `name: text` as a list, anything else as text."""
    items: list[str] = []
    for line in body.splitlines():
        item = None if line.startswith(" ") else _ITEM.match(line)
        if item:
            names = ", ".join(f"`{name.strip(' `')}`" for name in item[1].split(","))
            items.append(f"- {names}: {_escaped(item[2])}")
        elif items:
            items[-1] += f" {_escaped(line.strip())}"
        else:
            items.append(_escaped(line.strip()))
    return "\n".join(items)


def _escaped(text: str) -> str:
    """Returns text whose signs Markdown would take for its own, code spans left alone."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
    # An underscore inside a word is none of Markdown's.
    signs = re.compile(r"[\\*<>\[\]]|(?<!\w)_|_(?!\w)")
    return "".join(
        part if index % 2 else signs.sub(lambda sign: "\\" + sign[0], part)
        for index, part in enumerate(parts)
    )


def main(arguments: list[str]) -> int:
    """Writes the page, or compares it with the file; returns the exit code."""
    page = render()
    if "--check" in arguments:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page
        print(f"{PAGE.name} is current" if current else "type python docs/build.py")
        return 0 if current else 1
    PAGE.write_text(page, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
