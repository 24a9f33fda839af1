"""The page that travels with an export: what it is, how good it is, how to use it, its limits."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from kgzoo.methods.latent_paths import path_name
from kgzoo.presets import PRESET_FILE
from kgzoo.serving.signatures import samples_key

__all__ = [
    "CARD_FILE",
    "PICTURE_FILE",
    "PRESET_FILE",
    "ModelCard",
    "parameter_counts",
    "render",
    "signature_rows",
]

CARD_FILE = "MODEL_CARD.md"
PICTURE_FILE = "samples.png"
# What an entry of scores.json has beside its value; anything else is put in brackets after it.
_SCORE_COLUMNS = ("num_samples", "num_reference", "extractor", "convention")
_LONGEST_LIST = 120


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What a training run knows about the model it exports.

    Attributes:
        method: Name in the catalogue, "smmd".
        paper: Reference of the method's paper, one line, may hold a link.
        data: What `Source.describe()` says of the training data: name, split, count, preprocessing.
        steps: Generator updates done.
        seed: Seed of the run.
        summary: One sentence on the method; may be empty.
        scores: Contents of scores.json: entries with value, convention, sample counts, extractor,
            and facts about how they were made. None when the model was not scored.
        command: The command that trained it; may be empty.
        config: The resolved config of the run; None when there was no run.
        begun: What `zoo.initialize` told of the trained model whose networks the run began with;
            None when it began with new ones.
    """

    method: str
    paper: str
    data: Mapping[str, object]
    steps: int
    seed: int
    summary: str = ""
    scores: Mapping[str, object] | None = None
    command: str = ""
    config: Mapping[str, object] | None = None
    begun: Mapping[str, object] | None = None


def parameter_counts(model) -> dict[str, int]:
    """Returns the number of parameters of each network (layer or sub-model) of a method."""
    return {layer.name: layer.count_params() for layer in model.layers if layer.built}


def signature_rows(
    traced: Mapping[str, tf.types.experimental.ConcreteFunction],
) -> list[tuple[str, str, str]]:
    """Returns (signature, request, response) with keys, shapes and types, for a table."""
    rows = []
    for name, concrete in traced.items():
        inputs = tf.nest.flatten(concrete.structured_input_signature)
        request = [_tensor(spec.name, spec) for spec in inputs]
        response = [_tensor(key, spec) for key, spec in sorted(concrete.structured_outputs.items())]
        rows.append((name, ", ".join(request), ", ".join(response)))
    return rows


def render(
    card: ModelCard,
    name: str,
    version: int,
    model,
    traced: Mapping[str, tf.types.experimental.ConcreteFunction],
    has_picture: bool,
) -> str:
    """Returns the card as Markdown.

    Args:
        card: What the run knows.
        name: Name under which the model is exported.
        version: Version of the export.
        model: The method, for its networks, latents and sample shape.
        traced: The export's signatures.
        has_picture: Whether `samples.png` lies beside the card.
    """
    shape = " x ".join(str(size) for size in model.sample_shape)
    facts = [
        ("method", f"`{card.method}`"),
        ("paper", card.paper),
        ("steps (generator updates)", f"{card.steps:,}"),
        ("seed", card.seed),
        *([("fine-tuned from", _begun(card.begun))] if card.begun else []),
        ("samples", f"{model.kind}, {shape}" + (", in [0, 1]" if model.kind == "image" else "")),
        ("latents", f"{model.latent_dim}, {model.latent_distribution}"),
        *((f"data: {key}", _plain(value)) for key, value in _flat(card.data)),
    ]
    networks = [(network, f"{count:,}") for network, count in parameter_counts(model).items()]
    blocks = [
        f"# {name}, version {version}",
        card.summary,
        f"![Samples]({PICTURE_FILE})" if has_picture else "",
        "## How it was made",
        _table(("", ""), facts),
        f"```sh\n{card.command}\n```" if card.command else "",
        "## Networks",
        _table(("network", "parameters"), networks),
        "## Scores",
        *(_score_tables(card.scores) if card.scores else ["Not scored."]),
        "## Signatures",
        _table(("signature", "request", "response"), signature_rows(traced)),
        _USE.format(
            name=name,
            version=version,
            key=samples_key(model),
            preset=PRESET_FILE,
            without_python=_WITHOUT_PYTHON if "sample_png" in traced else "",
            mine="my_images" if model.kind == "image" else "my_points",
            range="uint8, or floats in [0, 1]" if model.kind == "image" else "as the data above",
        ),
        _limits(model, card.scores),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


_WITHOUT_PYTHON = """\
Without Python: `export/sample_png.c` in kgzoo's repository.

"""
_USE = """\
The answer to row i of a request depends on row i alone, so the same seed gives the same sample in
any batch and in any process, up to float32 rounding.

## Use

With TensorFlow Serving, from the folder that holds `{name}/` (it listens on all interfaces and has
no passwords):

```sh
tensorflow_model_server --rest_api_port=8501 --model_name={name} --model_base_path="$PWD/{name}"
curl -s http://localhost:8501/v1/models/{name}:predict \\
  -d '{{"signature_name": "sample", "instances": [{{"seed": [7, 0]}}]}}'
```

In Python, without kgzoo:

```python
import tensorflow as tf

model = tf.saved_model.load("{name}/{version}")  # keep it in a variable as long as you ask it
{key} = model.signatures["sample"](seed=tf.constant([[7, 0], [8, 0]]))["{key}"]
```

{without_python}To go on training, `{preset}` beside this card holds the whole method with its
optimizers' settings, their slots being fresh:

```python
import kgzoo

model = kgzoo.load("{name}/{version}")  # KGZOO_HOME is the folder that holds {name}/
model.fit({mine}, batch_size=model.batch_size)  # {range}
```"""


def _limits(model, scores: Mapping[str, object] | None) -> str:
    """Returns the last section: what not to expect of this export."""
    path = path_name(model.latent_distribution)
    measures = "enn" in (scores or {})
    measured = "`enn` measures how close, and nothing" if measures else "nothing here measures or"
    lines = [
        "- It imitates its training data, gaps and biases included, and covers them unevenly.",
        f"- Samples may come close to training examples; {measured} prevents that.",
        f"- `interpolate` is {path}, as fits {model.latent_distribution} latents; fractions are "
        "clipped to [0, 1].",
    ]
    if scores:
        lines.append("- The scores belong to the data, extractor and sample counts beside them.")
    return "## Limits\n\n" + "\n".join(lines)


def _begun(record: Mapping[str, object]) -> str:
    """Returns whose networks the run began with: model, method, step, layers, hash."""
    layers = ", ".join(f"{name} {count}" for name, count in record["networks"].items())
    sha256 = f", SHA-256 `{record['sha256']}`" if record.get("sha256") else ""
    named, step = str(record["init_from"]).replace("`", "'"), record["step"]
    return f"`{named}` (`{record['method']}`, step {step:,}{sha256}; taken: {layers})"


def _tensor(key: str, spec: tf.TensorSpec) -> str:
    """Returns `key [n, 2] int32`."""
    sizes = ", ".join("n" if size is None else str(size) for size in spec.shape)
    return f"`{key}` [{sizes}] {spec.dtype.name}"


def _score_tables(scores: Mapping[str, object]) -> list[str]:
    """Returns a table with a row for each entry that has a value, and one of all other facts."""
    entries, facts = [], []
    for name, leaf in _flat(scores, until=_is_score):
        if _is_score(leaf):
            value = _plain(leaf["value"])
            columns = ["" if leaf.get(c) is None else leaf[c] for c in _SCORE_COLUMNS]
            rest = [c for c in leaf if c != "value" and c not in _SCORE_COLUMNS]
            more = ", ".join(f"{c} {_plain(leaf[c])}" for c in rest)
            entries.append((name, f"{value} ({more})" if more else value, *columns))
        else:
            facts.append((name, _plain(leaf)))
    tables = [_table(("score", "value", *_SCORE_COLUMNS), entries)] if entries else []
    return tables + ([_table(("scored with", ""), facts)] if facts else [])


def _is_score(value: object) -> bool:
    return isinstance(value, Mapping) and "value" in value


def _flat(
    values: Mapping[str, object], prefix: str = "", until: Callable[[object], bool] | None = None
) -> Iterator[tuple[str, object]]:
    """Yields the leaves of nested mappings under dotted names; `until` says what is a leaf too."""
    for key, value in values.items():
        if isinstance(value, Mapping) and not (until and until(value)):
            yield from _flat(value, f"{prefix}{key}.", until)
        else:
            yield f"{prefix}{key}", value


def _plain(value: object) -> str:
    """Returns a value as text: five digits, and the number of values instead of a long list."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(_plain(part) for part in value)
        return text if len(text) <= _LONGEST_LIST else f"{len(value)} values"
    return "none" if value is None else str(value)


def _table(header: tuple[str, ...], rows: list[tuple]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
