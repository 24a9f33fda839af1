"""Score a run, an export, or a folder of images against a data set.

  python -m kgzoo.evaluate runs/smmd_digits
  python -m kgzoo.evaluate runs/smmd_digits/export/smmd_digits/1 --dataset=digits
  python -m kgzoo.evaluate runs/smmd_digits --gallery=pictures/
  python -m kgzoo.evaluate my_images/ --dataset=cifar10 --data_dir=~/tensorflow_datasets
  python -m kgzoo.evaluate --train_extractor=digits --out=weights/

A run knows its data set; the others need --dataset. Scores are printed, and written with --out.
"""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

from kgzoo import cli, config
from kgzoo.errors import UserError

__all__ = ["main"]

_CHECKPOINTS = ("newest", "best")


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()

    def string(name: str, text: str) -> None:
        flags.DEFINE_string(name, None, text, flag_values=values)

    string("dataset", "data set to score against [the run's]")
    string("data_dir", config.FIELDS["data_dir"][1])
    string("split", "train or test [test]")
    string(
        "extractor",
        "cifar10, digits, mnist, random_conv, identity, inception:<path> [the data set's own]",
    )
    string("checkpoint", "of a run: newest or best [newest]")
    string("out", "file for the scores as JSON (or folder for --train_extractor)")
    string("gallery", "folder for pictures of a run: interpolations, neighbours, carpets ...")
    string("train_extractor", "train the classifier of this name instead of scoring")
    flags.DEFINE_integer(
        "num_samples", 2000, "samples to draw of a model; of a folder all", 2, flag_values=values
    )
    flags.DEFINE_integer(
        "ais_points",
        None,
        "test images whose log-likelihood under an autoencoder is estimated too",
        1,
        flag_values=values,
    )
    flags.DEFINE_integer("seed", 0, "of samples and shuffles", 0, 2**31 - 1, flag_values=values)
    flags.DEFINE_bool("json", False, "print JSON and nothing else", flag_values=values)
    flags.DEFINE_bool("help", False, "print this and leave", short_name="h", flag_values=values)
    return values


def main(argv: list[str]) -> int:
    """Runs the verb; returns the exit code.

    Raises:
        UserError: on a mistake in the command line, or one that shows later.
    """
    values = _flags()
    positional, _, _ = cli.parse(argv, values)
    if values["help"].value:
        print(cli.help_text(__doc__, values))
        return 0
    options = {name: values[name].value for name in values}
    if options["train_extractor"]:
        return _train_extractor(options)
    if len(positional) != 1:
        raise UserError(
            f"{len(positional)} targets are given; give one run, export or folder of images."
        )
    for name, known in (("checkpoint", _CHECKPOINTS), ("split", ("train", "test"))):
        if options[name] not in (None, *known):
            raise UserError(f"--{name}={options[name]} is not known; choose one of {known}.")
    target = Path(positional[0]).expanduser()
    if not target.is_dir():
        raise UserError(f"{target} is not a folder; give a run, an export or a folder of images.")
    if options["out"] and Path(options["out"]).is_dir():
        raise UserError(f"--out={options['out']} is a folder; give a file.")
    if options["gallery"] and not (target / "config.json").is_file():
        raise UserError(f"--gallery={options['gallery']} needs a run, not {target}; leave it out.")
    if options["gallery"] and Path(options["gallery"]).is_file():
        raise UserError(f"--gallery={options['gallery']} is a file; give a folder.")
    card = _score(target, options)
    if options["out"]:
        from kgzoo.evaluation import score_card

        score_card.write(options["out"], card)
    print(json.dumps(card, indent=2, allow_nan=False) if options["json"] else _table(card))
    return 0


def _train_extractor(options: dict[str, Any]) -> int:
    cli.quiet_tensorflow()
    from kgzoo.evaluation import classifiers

    facts = classifiers.train_extractor(
        options["train_extractor"],
        folder=options["out"],
        data_dir=_expanded(options["data_dir"]),
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(json.dumps(facts, indent=2))
    return 0


def _score(target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Finds out what the target is and scores its samples."""
    is_run = (target / "config.json").is_file()
    if not is_run and not options["dataset"]:
        raise UserError(f"{target} is no run; say what to compare with by --dataset.")
    cli.quiet_tensorflow()
    if is_run:
        return _score_run(target, options)
    return _score_other(target, options)


def _score_run(target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from kgzoo.evaluation import curves
    from kgzoo.training import run_folder

    if options["gallery"]:
        # Refused before the scores are computed where it cannot draw.
        curves.blank_figure(1, 1, 1.0, 1.0)

    model, recorded, step = run_folder.load_run(target, options["checkpoint"] or "newest")
    run = recorded["config"]
    reference = _reference(
        options["dataset"] or run.dataset,
        options["data_dir"] or run.data_dir,
        tuple(recorded["data"]["shape"]),
        options,
    )
    if options["ais_points"] and not hasattr(model, "decoder_logits"):
        raise UserError(
            f"--ais_points={options['ais_points']} needs an autoencoder, not {run.method}; leave "
            "it out."
        )
    samples = model.sample(options["num_samples"], seed=options["seed"])
    card = _card(samples, reference, options)
    if options["ais_points"]:
        card["negative_log_likelihood"] = _likelihood(model, reference.source, options)
    if options["gallery"]:
        _write_gallery(model, target, samples, reference, run, options)
    return {**card, "target": str(target), "step": step}


def _write_gallery(
    model: Any, target: Path, samples: Any, reference: Any, run: Any, options: dict[str, Any]
) -> None:
    """Draws what the model allows, and prints the files to stderr."""
    import numpy as np

    from kgzoo import data
    from kgzoo.evaluation import galleries
    from kgzoo.methods import latent_paths

    source, train = reference.source, reference.train
    if train is None and source.kind == "image":
        dataset, folder = options["dataset"] or run.dataset, options["data_dir"] or run.data_dir
        split = "all" if source.name.startswith("image_folder:") else "train"
        train = data.load(dataset, split, _expanded(folder), image_size=source.shape[0]).examples
    index = np.arange(16, dtype=np.int32)
    seeds = np.stack([np.full_like(index, options["seed"]), index], axis=1)
    written = galleries.write_gallery(
        Path(options["gallery"]).expanduser(),
        samples,
        kind=source.kind,
        latents=model.sample_from_seeds(seeds)[1].numpy(),
        decode=model.decode,
        path=latent_paths.path_of(model.latent_distribution),
        train=train,
        extract=reference.extractor.extract,
        real=source.examples,
        labels=source.labels,
        critic_features=model.critic_features if model.has_critic else None,
        run=target,
        seed=options["seed"],
    )
    for path in written:
        print(path, file=sys.stderr)


def _likelihood(model: Any, source: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the entry of the scores: -log p(x) of the first images, in nats."""
    from kgzoo import data
    from kgzoo.evaluation import ais

    def say(done: int, total: int) -> None:
        print(f"\rAIS {done / total:4.0%}", end="", file=sys.stderr, flush=True)

    images = data.binarize(source).examples[: options["ais_points"]] / 255
    found = ais.estimate(
        model.decoder_logits,
        images.astype("float32"),
        model.latent_dim,
        seed=options["seed"],
        progress=say,
    )
    print(file=sys.stderr)
    finite = math.isfinite(found.mean)
    return {
        "value": -found.mean if finite else None,
        "standard_error": found.standard_error if finite else None,
        "effective_sample_size": float(found.effective_sample_sizes.mean()) if finite else None,
        "convention": (
            "nats, by annealed importance sampling (an upper bound in expectation): "
            f"{found.settings['chains']} chains of {found.settings['temperatures']} temperatures, "
            f"{found.settings['leapfrog_steps']} leapfrog steps, {found.settings['schedule']} "
            f"schedule; fixed black and white draws of the {source.split} split"
        ),
        "num_samples": None,
        "num_reference": len(images),
        "extractor": None,
        "seed": options["seed"],
    }


def _score_other(target: Path, options: dict[str, Any]) -> dict[str, Any]:
    if (target / "saved_model.pb").is_file():
        from kgzoo.serving import sample_export

        samples = sample_export(target, options["num_samples"], options["seed"])
    else:
        from kgzoo import data

        size = data.load(options["dataset"], "test", options["data_dir"]).shape
        folder = data.load(
            f"image_folder:{target}", "all", image_size=size[0] if len(size) == 3 else None
        )
        # All of them: the first ones in sorted order may be one class.
        parts = data.batches(folder, 256)
        samples = _match_channels(parts, size)
    reference = _reference(options["dataset"], options["data_dir"], samples.shape[1:], options)
    return {**_card(samples, reference, options), "target": str(target)}


def _match_channels(parts: Any, shape: tuple[int, ...]) -> Any:
    """Stacks batches of images, grey ones repeated where the data set has three channels."""
    import numpy as np

    images = np.concatenate(list(parts))
    if len(shape) == 3 and images.shape[-1] == 1 < shape[-1]:
        images = np.repeat(images, shape[-1], axis=-1)
    return images


def _reference(
    dataset: str, data_dir: str | None, shape: tuple[int, ...], options: dict[str, Any]
) -> Any:
    from kgzoo import data, results
    from kgzoo.evaluation import score_card

    source = data.load(
        dataset,
        options["split"] or "test",
        _expanded(data_dir),
        image_size=shape[0] if len(shape) == 3 else None,
    )
    if tuple(source.shape) != tuple(shape):
        raise UserError(
            f"the samples have shape {tuple(shape)} but {dataset} has {tuple(source.shape)}; "
            "choose a fitting --dataset."
        )
    train = results.training_images(source, data_dir)
    return score_card.prepare(source, options["extractor"], options["seed"], train=train)


def _expanded(data_dir: str | None) -> str | None:
    return os.path.expanduser(data_dir) if data_dir else None


def _card(samples: Any, reference: Any, options: dict[str, Any]) -> dict[str, Any]:
    from kgzoo.evaluation import score_card

    return score_card.score_samples(samples, reference, seed=options["seed"], complete=True)


def _table(card: dict[str, Any]) -> str:
    lines = []
    for name, entry in card.items():
        if isinstance(entry, dict) and "value" in entry:
            value, std = entry["value"], entry.get("std")
            shown = f"{value:.5g}" if isinstance(value, (int, float)) else json.dumps(value)
            if "p_value" in entry:
                shown += f" (p = {entry['p_value']:.3g}, {entry['num_permutations']} permutations)"
            over = entry.get("blocks", entry.get("splits", ""))
            spread = "" if std is None else f" +- {std:.2g} (std over {over})"
            lines.append(f"{name:<30} {shown}{spread}")
            lines.append(f"{'':<30} {entry['convention']}")
            counted = {
                "{} samples": entry["num_samples"],
                "{} real": entry["num_reference"],
                "features: {}": entry["extractor"],
            }
            known = [form.format(fact) for form, fact in counted.items() if fact is not None]
            lines.append(f"{'':<30} {', '.join(known)}")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
