"""What becomes of a trained model: scores, an export, and what the user is told."""

import dataclasses
import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgzoo import catalog, data, serving
from kgzoo.data.source import FOLDER_PREFIX
from kgzoo.evaluation import score_card
from kgzoo.methods import Method
from kgzoo.training.progress import duration
from kgzoo.training.run_folder import UNTRAINED, read_init_from, write_json

__all__ = [
    "export_file",
    "export_run",
    "finish",
    "finished_step",
    "score_model",
    "score_untrained",
    "summary",
    "training_images",
]

_SCORES = "scores.json"
_RESULT = "result.json"
# An absolute path, alone or behind a flag or a kind ("image_folder:"): its folders are nobody's
# business where an export is published.
_PATH = re.compile(r"((?:[\w.-]+[=:])*)(?:~[\w.-]*)?/(?!/)(.*)", re.DOTALL)


def score_model(
    model: Method,
    reference: score_card.Reference,
    num_samples: int,
    seed: int,
    complete: bool = False,
) -> dict[str, Any]:
    """Scores `num_samples` samples of the averaged generator; see `score_card.score_samples`."""
    samples = model.sample(num_samples, seed=seed)
    return score_card.score_samples(samples, reference, seed=seed, complete=complete)


def score_untrained(
    model: Method, reference: score_card.Reference, config: Mapping[str, Any], workdir: Path
) -> None:
    """Keeps the scores of the generator at step 0, against which later ones are read."""
    path = workdir / UNTRAINED
    if model.steps_done == 0 and not path.exists():
        card = score_model(model, reference, config["num_samples"], config["seed"])
        write_json(path, {name: card[name] for name in ("fid", "kid")})


def training_images(reference: data.Source, data_dir: str | None) -> Any:
    """Returns the training images beside a split, which the LeNet scores need, or None.

    They are for sets of grey images that have two splits; nothing is binarised.

    Args:
        reference: the split that samples are compared with.
        data_dir: of prepared TFDS data sets; None or empty: the TFDS default.

    Returns:
        uint8 [n, height, width, 1], or None.
    """
    grey = reference.kind == "image" and reference.shape[-1] == 1
    if not grey or reference.name.startswith(FOLDER_PREFIX):
        return None
    folder = os.path.expanduser(data_dir) if data_dir else None
    return data.load(reference.name, "train", folder, image_size=reference.shape[0]).examples


def export_run(
    model: Method,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    scores: Mapping[str, Any] | None,
    root: Path,
    name: str,
    command: str,
    begun: Mapping[str, Any] | None = None,
) -> Path:
    """Exports a trained model with its card; returns `<root>/<name>/<version>`.

    Args:
        model: the method.
        config: its resolved config.
        facts: what `Source.describe` says of the training data.
        scores: contents of scores.json, or None.
        root: folder of exports.
        name: the name to serve it under.
        command: what trained it.
        begun: what `run_folder.read_init_from` returns.
    """
    row = catalog.row(config["method"])
    card = serving.ModelCard(
        method=row.name,
        summary=row.summary,
        paper=row.source,
        data=_portable(facts),
        steps=model.steps_done,
        seed=config["seed"],
        scores=_portable(scores),
        command=_anywhere(command),
        config=_portable({**config, "data_dir": ""}),
        begun=_portable(begun),
    )
    return serving.export_model(model, root, name, card)


def export_file(model: Method, root: Path, name: str) -> Path:
    """Exports a method that was loaded from a `.keras` file; returns `<root>/<name>/<version>`.

    Args:
        model: what `kgzoo.load` returned, trained on or not.
        root: folder of exports.
        name: the name to serve it under.
    """
    method = type(model).__name__
    card = serving.ModelCard(
        method=method,
        summary=f"A model of class {method} that was saved by hand; who trained it on what is told "
        "by nobody.",
        paper="not recorded",
        data={"name": "not recorded"},
        steps=model.steps_done,
        seed=model.seed,
    )
    return serving.export_model(model, root, name, card)


def _anywhere(command: str) -> str:
    """Returns a command without folders of the machine; the data sets' is left out altogether."""
    kept, skipped = [], False
    for word in shlex.split(command):
        flag, equals, _ = word.partition("=")
        names_it = flag in ("--data_dir", "-data_dir", "--config.data_dir", "-config.data_dir")
        if not names_it and not skipped:
            plain = _portable(word)
            # The dots that stand for folders need no quotes.
            rest = plain.replace("…", "")
            kept.append(plain if shlex.quote(rest) == rest else shlex.quote(plain))
        skipped = names_it and not equals
    return " ".join(kept)


def _portable(said: Any) -> Any:
    """Returns a text, or what holds texts, without the folders of the machine.

    The last part of a path stays; of a version, as of an export, the one before it too.
    """
    if isinstance(said, Mapping):
        return {key: _portable(value) for key, value in said.items()}
    if isinstance(said, (list, tuple)):
        return [_portable(value) for value in said]
    found = _PATH.fullmatch(said) if isinstance(said, str) else None
    if not found:
        return said
    parts = found[2].rstrip("/").split("/")
    return f"{found[1]}…/" + "/".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])


def finish(
    model: Method,
    reference: score_card.Reference,
    source: data.Source,
    config: Mapping[str, Any],
    workdir: Path,
    name: str,
    command: str,
    seconds: float,
) -> None:
    """Scores and exports a trained model; result.json is written last and says that all is done."""
    print(f"Scoring {config['num_samples']} samples ...", flush=True)
    train = training_images(reference.source, config["data_dir"])
    reference = dataclasses.replace(reference, train=train)
    card = score_model(model, reference, config["num_samples"], config["seed"], complete=True)
    card["step"] = model.steps_done
    if (workdir / UNTRAINED).exists():
        card["untrained"] = json.loads((workdir / UNTRAINED).read_text())
    score_card.write(workdir / _SCORES, card)
    print("Exporting ...", flush=True)
    facts, begun = source.describe(), read_init_from(workdir)
    path = export_run(model, config, facts, card, workdir / "export", name, command, begun)
    result = {
        "method": config["method"],
        "dataset": config["dataset"],
        "step": model.steps_done,
        "training_seconds": round(seconds, 1),
        "export": str(path.relative_to(workdir)),
    }
    write_json(workdir / _RESULT, result)


def finished_step(workdir: Path) -> int | None:
    """Returns the step at which the run was scored and exported, or None."""
    try:
        result = json.loads((workdir / _RESULT).read_text(encoding="utf-8"))
        whole = (workdir / _SCORES).is_file() and (workdir / result["export"]).is_dir()
        return int(result["step"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def summary(workdir: Path, command: str) -> str:
    """Returns what a finished run prints: results, where things are, what to type next."""
    result = json.loads((workdir / _RESULT).read_text())
    scores = json.loads((workdir / _SCORES).read_text())
    export = workdir / result["export"]
    step = result["step"]
    took = duration(result["training_seconds"])
    samples = sorted((workdir / "samples").glob("step_*.png"))
    rows = [
        ("samples", samples[-1] if samples else "none drawn (--config.sample_every_steps=0)"),
        ("scores", workdir / _SCORES),
        ("export", export),
        ("curves", f"tensorboard --logdir={shlex.quote(str(workdir))}"),
    ]
    lines = [f"{result['method']} on {result['dataset']}: {step} steps, last part took {took}."]
    lines += [f"  {line}" for line in _score_lines(scores)]
    lines += [f"  {name:<8} {value}" for name, value in rows]
    lines += ["Sample from the export:", f"  {_sample_command(export)}"]
    lines += ["Serve it:"] + [f"  {line}" for line in serving.serving_command(export).splitlines()]
    lines += ["Train on:", f"  {_longer(command, max(1, 2 * step))}"]
    return "\n".join(lines)


def _score_lines(scores: Mapping[str, Any]) -> list[str]:
    fid, kid = scores["fid"], scores["kid"]
    halves = scores["fid_between_real_halves"]["value"]
    beside = [] if halves is None else [f"between halves of the real data {halves:.3g}"]
    if "untrained" in scores:
        beside.append(f"untrained {scores['untrained']['fid']['value']:.4g}")
    lines = [
        f"FID {fid['value']:.3g} ({', '.join(beside)}); KID {kid['value']:.4f}",
        f"  {fid['num_samples']} samples against {fid['num_reference']} held-out examples, "
        f"features: {fid['extractor']}",
    ]
    if "class_shares" in scores:
        shares = " ".join(f"{100 * share:.0f}" for share in scores["class_shares"]["value"])
        lines.append(f"share of samples per class, %: {shares}")
    if "expected_entropy" in scores:
        entropy, score = (
            f"{scores[name]['value']:.3g} (real {scores[f'{name}_of_reference']['value']:.3g})"
            for name in ("expected_entropy", "classifier_score")
        )
        lines.append(f"expected entropy {entropy}, classifier score {score}")
    if "mode_coverage" in scores:
        modes = scores["mode_coverage"]
        near, ideal = modes["share_near_a_mode"], modes.get("share_near_a_mode_of_target", 1.0)
        lines.append(
            f"modes covered: {modes['value']} of {modes['num_modes']}, {100 * near:.0f} % of "
            "samples near one" + (f" (of the target {100 * ideal:.0f} %)" if ideal < 0.995 else "")
        )
    return lines


def _sample_command(export: Path) -> str:
    path = str(export)
    if "sample_png" in serving.signature_names(export):
        use = (
            "open('sample.png', 'wb').write("
            "m.signatures['sample_png'](seed=tf.constant([[7, 0]]))['image_bytes'].numpy()[0])"
        )
    else:
        use = "print(m.signatures['sample'](seed=tf.constant([[7, 0], [7, 1]])))"
    code = f"import tensorflow as tf; m = tf.saved_model.load({path!r}); {use}"
    # Readable where the path allows it.
    return f'python -c "{code}"' if shlex.quote(path) == path else f"python -c {shlex.quote(code)}"


def _longer(command: str, steps: int) -> str:
    words = [word for word in command.split(" ") if not word.startswith("--steps=")]
    return " ".join([*words, f"--steps={steps}"])
