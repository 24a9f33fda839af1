"""Write docs/API.md, the reference of the public API, from signatures and docstrings.

  python docs/build.py              writes docs/API.md
  python docs/build.py --check      exit code 1 when the file is not what it would write

Sources are parsed and never imported, so that the page depends on them alone, and bare Python does.
What is public is what a module's `__all__` names. The chapters tell their objects in full; every
other public object of kgzoo has one line.
"""

import ast
import functools
import inspect
import pathlib
import re
import sys
import textwrap
from collections.abc import Iterator

__all__ = ["anchors", "main", "public", "render"]

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "API.md"
# Title, and the modules in their order; `x.*` stands for the modules of package x. An object stands
# where it is met first.
CHAPTERS = (
    ("Loading a model", ("kgzoo",)),
    ("The zoo and its presets", ("kgzoo.catalog", "kgzoo.presets", "kgzoo.zoo")),
    ("Methods", ("kgzoo.methods",)),
    ("Kernels", ("kgzoo.kernels",)),
    ("Discrepancies", ("kgzoo.discrepancies.*",)),
    ("Data", ("kgzoo.data",)),
    ("Scores", ("kgzoo.evaluation.scores", "kgzoo.evaluation.score_card")),
    ("Serving", ("kgzoo.serving", "kgzoo.serving.signatures")),
)
# What everyone calls, under a heading each. The class is shown with what it inherits from kgzoo,
# whose files hold parts of it; the rest of its members have a line each.
KEY_MEMBERS = {"Method": ("sample", "compile", "fit", "train_step", "losses")}
_REST = "Everything else, a line each"
_ABOUT = (
    "Made from the docstrings by `python docs/build.py`; do not edit. `n`, `m` are examples, `d` "
    "features; images are `[n, h, w, c]`. In kernels and discrepancies the first sample is real, "
    "the second generated. A user's mistake raises `kgzoo.errors.UserError`, a `ValueError` of one "
    "sentence. A heading leads to its source."
)
_ABBREVIATIONS = {"al.", "cf.", "e.g.", "eq.", "eqs.", "fig.", "i.e.", "prop.", "sec."}
_WIDEST = 96
_SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "References")
_HEADING = re.compile(rf"^({'|'.join(_SECTIONS)}):(?: (.*))?$")
_ITEM = re.compile(r"^(\*{0,2}\w[\w, *]*|`[^`]+`): +(.*)$")
_Definition = ast.ClassDef | ast.FunctionDef
_Constant = ast.Assign | ast.AnnAssign
_Seen = set[tuple[str, str]]
_Entry = tuple[str, str, _Definition | _Constant]


def render() -> str:
    """Returns the page."""
    seen: _Seen = set()
    contents: list[tuple[str, list[str]]] = []
    body: list[str] = []
    for title, patterns in CHAPTERS:
        contents.append(("", [title]))
        body.append(f"## {title}")
        for module in [module for pattern in patterns for module in _matching(pattern)]:
            if parts := _module(module, seen):
                contents.append(("  ", _headings("\n".join(parts))))
                body += parts
    rest = {area: part for area, modules in _areas().items() if (part := _lines(modules, seen))}
    contents.append(("", [_REST, *(f"More of {area}" for area in rest)]))
    body.append(f"## {_REST}")
    for area, part in rest.items():
        body += [f"### More of {area}", part]
    places = anchors("\n".join(body))
    table = []
    for indent, (first, *others) in contents:
        shorter = re.compile(rf"^{re.escape(first)}\.|^More of ")
        links = [f"[{shorter.sub('', name)}](#{places[name]})" for name in others]
        table.append(f"{indent}- [{first}](#{places[first]}){': ' * bool(links)}{', '.join(links)}")
    return "\n\n".join(["# API reference", _ABOUT, "\n".join(table), *body]) + "\n"


def _headings(text: str) -> list[str]:
    return re.findall(r"^##+ \[?([^\]\n]+)", text, re.MULTILINE)


def anchors(page: str) -> dict[str, str]:
    """Returns the anchors that GitHub gives to the headings of a page; it numbers equal ones."""
    found: dict[str, str] = {}
    taken: dict[str, int] = {}
    for heading in _headings(page):
        slug = re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-")
        number = taken[slug] = taken.get(slug, -1) + 1
        found[heading] = f"{slug}-{number}" if number else slug
    return found


def _matching(pattern: str) -> list[str]:
    """Returns the modules that a chapter means; those of a package without the package itself."""
    if not pattern.endswith(".*"):
        return [pattern]
    folder = ROOT.joinpath(*pattern[:-2].split("."))
    stems = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return [f"{pattern[:-2]}.{stem}" for stem in stems]


def _areas() -> dict[str, list[str]]:
    """Returns every module of kgzoo, by the package that it lies in."""
    areas: dict[str, list[str]] = {}
    for path in sorted((ROOT / "kgzoo").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        package, name = ".".join(parts[:-1]), parts[-1]
        areas.setdefault(package, []).append(package + f".{name}" * (name != "__init__"))
    return areas


def _file(module: str) -> pathlib.Path | None:
    path = ROOT.joinpath(*module.split("."))
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.is_file():
            return found
    return None


def _source(module: str) -> str:
    return f"../{_file(module).relative_to(ROOT).as_posix()}"


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def _new(module: str, seen: _Seen) -> list[_Entry]:
    """Returns the public names that stand nowhere yet, with where and how they are defined."""
    found = []
    for name in public(_tree(module)):
        place = _resolve(module, name)
        if place is None and _file(f"{module}.{name}"):
            continue  # a module of the package, which has a line of its own
        if place is None:
            raise LookupError(f"{module}.__all__ names {name}, which no source of kgzoo defines.")
        if (place[0], name) not in seen:
            seen.add((place[0], name))
            found.append((name, *place))
    return found


def public(tree: ast.Module) -> list[str]:
    """Returns the names in a module's `__all__`."""
    for node in tree.body:
        if isinstance(node, _Constant) and "__all__" in _assigned(node):
            return [e.value for e in ast.walk(node.value) if isinstance(e, ast.Constant)]
    return []


def _assigned(node: _Constant) -> list[str]:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return [getattr(name, "id", "") for name in getattr(target, "elts", [target])]


def _resolve(module: str, name: str) -> tuple[str, _Definition | _Constant] | None:
    """Returns the module that defines a name, and its definition."""
    tree = _tree(module)
    for node in tree.body:
        if isinstance(node, _Definition) and node.name == name:
            return module, node
        if isinstance(node, _Constant) and name in _assigned(node):
            return module, node
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kgzoo"):
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


def _module(module: str, seen: _Seen) -> list[str]:
    """Returns a module's parts of a chapter; none when nothing public in it is new."""
    new = _new(module, seen)
    short = [entry for entry in new if _is_short(*entry)]
    about = [f"### [{module}]({_source(module)})", _text(ast.get_docstring(_tree(module)) or "")]
    # A heading, a list and a fence need no empty line around them, and the page is long enough.
    parts = ["\n".join(filter(None, [*about, *_brief(short, brief=False)]))]
    parts += [
        _object(f"{module}.{name}", *place) for name, *place in new if (name, *place) not in short
    ]
    return parts if new else []


def _lines(modules: list[str], seen: _Seen) -> str:
    """Returns modules as a list, each with what of it stands nowhere yet."""
    lines = []
    for module in modules:
        if new := _new(module, seen):
            about = _first_sentence(_tree(module))
            lines.append(f"- [`{module}`]({_source(module)}): {about}")
            lines += [f"  {line}" for line in _brief(new, brief=True)]
    return "\n".join(lines)


def _brief(entries: list[_Entry], brief: bool) -> list[str]:
    """Returns objects in lines; constants of which nothing is told share one."""
    lines = [_line(*entry, brief) for entry in entries]
    bare = [line for line in lines if re.fullmatch(r"- `[^`]*`", line)]
    shared = ["- " + ", ".join(line[2:] for line in bare)] if bare else []
    return shared + [line for line in lines if line not in bare]


def _is_short(name: str, module: str, node: _Definition | _Constant) -> bool:
    """Whether a line says as much as a heading with all below it would."""
    if isinstance(node, _Constant):
        return True
    paragraphs = (ast.get_docstring(node) or "").split("\n\n")
    if isinstance(node, ast.ClassDef) and any(_members(module, node)):
        return False
    return len(paragraphs) == 1 and len(_line(name, module, node)) <= 2 * _WIDEST


def _line(name: str, module: str, node: _Definition | _Constant, brief: bool = False) -> str:
    """Returns an object as one line: how it is called, if `brief` without types, what it is."""
    if isinstance(node, _Constant):
        return f"- `{_constant(name, node)}`{_comment_above(module, node)}"
    if isinstance(node, ast.FunctionDef):
        call = _signature(name, node.args, node.returns, brief=brief)
        return f"- `{_on_one_line(call)}`: {_first_sentence(node)}"
    bases = [base for base in _bases(node) if not base.startswith("_")]
    kind = f", a {', '.join(f'`{base}`' for base in bases)}" if bases else ""
    call = _on_one_line(_constructor(name, node, brief))
    return f"- class `{call}`{kind}: {_first_sentence(node)}"


def _constant(name: str, node: _Constant) -> str:
    if isinstance(node, ast.AnnAssign):
        return f"{name}: {ast.unparse(node.annotation)}"
    value = node.value
    if isinstance(node.targets[0], ast.Tuple) and isinstance(value, ast.Tuple):
        value = dict(zip(_assigned(node), value.elts, strict=True))[name]
    shown = " ".join(ast.unparse(value).split())
    return f"{name} = {shown if len(shown) <= 60 else '...'}"


def _comment_above(module: str, node: _Constant) -> str:
    """Returns the comment right above an assignment, after a colon."""
    lines = _file(module).read_text(encoding="utf-8").splitlines()[: node.lineno - 1]
    comment: list[str] = []
    while lines and lines[-1].startswith("# "):
        comment.insert(0, lines.pop()[2:])
    return f": {_escaped(' '.join(comment))}" if comment else ""


def _first_sentence(node: _Definition | ast.Module) -> str:
    words = (ast.get_docstring(node) or "").partition("\n\n")[0].split()
    for index, word in enumerate(words[:-1]):
        ends = word[-1] in ".!?" and word.lower().strip("(") not in _ABBREVIATIONS
        if ends and re.match("[A-Z`(]", words[index + 1]):
            words = words[: index + 1]
            break
    return _escaped(" ".join(words))


def _object(name: str, module: str, node: _Definition) -> str:
    """Returns a class or a function in full; `name` is how it is imported."""
    short = name.rpartition(".")[2]
    if isinstance(node, ast.FunctionDef):
        call, members = _signature(short, node.args, node.returns), []
    else:
        bases = [base for base in _bases(node) if not base.startswith("_")]
        kind = f"  # derives from {', '.join(bases)}" if bases else ""
        call, members = f"class {_constructor(short, node)}{kind}", list(_members(module, node))
    key = [part for part in members if part.startswith("#")]
    others = [part for part in members if part not in key]
    told = f"#### [{name}]({_source(module)})\n{_fenced(call)}\n{_doc(node)}".strip()
    # Without a word between them, two lists are one.
    return "\n\n".join([told, *key, *(["\n".join(["Members:", *others])] if others else [])])


def _bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).rpartition(".")[2] for base in node.bases]


def _constructor(name: str, node: ast.ClassDef, brief: bool = False) -> str:
    """Returns how a class is called."""
    constructor = next((n for n in _functions(node) if n.name == "__init__"), None)
    if constructor is not None:
        return _signature(name, constructor.args, None, skip=1, brief=brief)
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
    shown = [n.target.id if brief else _field(n) for n in fields]
    return _call(name, shown) if fields else name


def _field(node: ast.AnnAssign) -> str:
    default = f" = {ast.unparse(node.value)}" if node.value else ""
    return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}{default}"


def _functions(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (n for n in node.body if isinstance(n, ast.FunctionDef))


def _lineage(module: str, node: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yields a class and all its bases in kgzoo, each with the module that defines it."""
    yield module, node
    for base in _bases(node):
        place = _resolve(module, base)
        if place and isinstance(place[1], ast.ClassDef):
            yield from _lineage(*place)


def _members(module: str, node: ast.ClassDef) -> Iterator[str]:
    """Yields the public methods and properties that have a docstring, each a part or an item."""
    met = set()
    key = KEY_MEMBERS.get(node.name, ())
    owners = list(_lineage(module, node)) if key else [(module, node)]
    for owner, function in [(owner, f) for owner, part in owners for f in _functions(part)]:
        name = function.name
        if name in met or name.startswith("_") or not ast.get_docstring(function):
            continue
        met.add(name)
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        skip = 0 if "staticmethod" in decorators else 1
        call = _signature(name, function.args, function.returns, skip)
        if name in key:
            head = f"##### [{node.name}.{name}]({_source(owner)})"
            yield f"{head}\n{_fenced(call)}\n{_doc(function)}"
            continue
        if "property" in decorators:
            call = name + (f": {ast.unparse(function.returns)}" if function.returns else "")
        kind = next((f"{d} " for d in decorators if d in ("property", "classmethod")), "")
        about = _first_sentence(function) if key else _doc(function).replace("\n\n", "\n")
        yield f"- {kind}**`{_on_one_line(call)}`**: " + textwrap.indent(about, "  ").lstrip()


def _signature(
    name: str, args: ast.arguments, returns: ast.expr | None, skip: int = 0, brief: bool = False
) -> str:
    """Returns a call; the first `skip` arguments are left out, and if `brief` all types."""
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    shown = [_argument(a, d, brief) for a, d in zip(positional, defaults, strict=True)][skip:]
    if args.vararg:
        shown.append("*" + _argument(args.vararg, None, brief))
    elif args.kwonlyargs:
        shown.append("*")
    pairs = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    shown += [_argument(a, d, brief) for a, d in pairs]
    if args.kwarg:
        shown.append("**" + _argument(args.kwarg, None, brief))
    return _call(name, shown, f" -> {ast.unparse(returns)}" if returns is not None else "")


def _argument(argument: ast.arg, default: ast.expr | None, brief: bool) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation and not brief else ""
    if default is None:
        return argument.arg + kind
    return f"{argument.arg}{kind}{' = ' if kind else '='}{ast.unparse(default)}"


def _call(name: str, arguments: list[str], returns: str = "") -> str:
    """Returns a call on as many lines as it needs, arguments unbroken."""
    line = f"{name}({', '.join(arguments)}){returns}"
    if len(line) <= _WIDEST:
        return line
    lines = [""]
    for argument in arguments:
        if len(lines[-1]) + len(argument) + 6 > _WIDEST:
            lines.append("")
        lines[-1] += f" {argument},"
    return "\n".join([f"{name}(", *(f"   {line}" for line in lines if line), f"){returns}"])


def _on_one_line(call: str) -> str:
    """Returns what `_call` wrote on several lines on one."""
    return re.sub(r",?\n\)", ")", re.sub(r"\(\n +", "(", call)).replace("\n   ", "")


def _fenced(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}\n```"


def _doc(node: _Definition) -> str:
    return _text(ast.get_docstring(node) or "")


def _text(docstring: str) -> str:
    """Returns a Google docstring as Markdown: arguments as a list, formulas and tables fenced."""
    blocks, items, section = [], [], ""
    for block in re.split(r"\n\s*\n", docstring):
        lines = block.splitlines()
        heading = _HEADING.match(lines[0]) if lines else None
        if heading:
            section = heading[1]
            rest = inspect.cleandoc("\n" + "\n".join(lines[1:]))
            items += _listed(f"{heading[2] or ''}\n{rest}".strip(), section)
        elif lines and section and lines[0].startswith("    "):
            items += _listed(inspect.cleandoc("\n" + block), section)
        elif any(re.match(r"\s", line) or re.search(r"\S {3,}\S", line) for line in lines):
            blocks.append(_fenced(block, "text"))
        elif lines:
            blocks.append(_escaped(" ".join(line.strip() for line in lines)))
    return "\n".join(filter(None, ["\n\n".join(blocks), *items]))


def _listed(body: str, section: str) -> list[str]:
    """Returns a section as items `name: text`; those that are no arguments begin with its name."""
    items: list[str] = []
    for line in body.splitlines():
        item = None if line.startswith(" ") else _ITEM.match(line)
        if item:
            names = ", ".join(f"`{name.strip(' `')}`" for name in item[1].split(","))
            items.append(f"{names}: {_escaped(item[2])}")
        elif items:
            items[-1] += f" {_escaped(line.strip())}"
        else:
            items.append(_escaped(line.strip()))
    before = "" if section in ("Args", "Attributes") else f"**{section}** "
    return [f"- {before}{item}" for item in items if item]


def _escaped(text: str) -> str:
    """Returns text whose signs Markdown would take for its own, code spans left alone."""
    # GitHub takes what stands between two dollar signs for mathematics.
    text = re.sub(r"(?<!`)\$[A-Z_]+", r"`\g<0>`", text)
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
