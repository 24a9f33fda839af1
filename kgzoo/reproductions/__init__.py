"""Reproductions: a paper's figure or claim, computed again, with what was found beside it.

Each module has `run(folder, quick=False, **options) -> dict`. It writes `<name>.png` and
`<name>.json` into `folder` and returns what the JSON file holds: `settings` (every choice the paper
leaves open), `findings` (rows of `quantity`, `found`, `paper`, which the verb prints as a table)
and whatever else was computed. `quick` makes it coarser, seconds instead of minutes.
"""

import importlib
import inspect
import pathlib
from collections.abc import Mapping
from typing import Any

from kgzoo.errors import UserError, unknown_name
from kgzoo.reproductions import claims

__all__ = ["NAMES", "NEED_TENSORFLOW", "run"]

NAMES: Mapping[str, str] = {
    "dirac": "gradient fields and paths of nine losses on two Diracs (SMMD paper, Figs. 1 and 5)",
    "distances": "optimal critics and distances of two Diracs (SMMD paper, Figs. 1c, 1d, 7)",
    "critic_fields": "gradients of the GC-MMD and Sobolev critics (SMMD paper, Fig. 6)",
    "gcmmd_mnist": "samples and time of GC-MMD on MNIST (SMMD paper, Fig. 8)",
    "two_parameter": "flow and equilibria of a two-parameter GAN (repulsive MMD-GAN, App. A.2)",
    "saturation": "kernels and their derivatives over the distance (repulsive MMD-GAN, Fig. 2)",
    "ring": "GRAM, MMD nets, GAN and MMD-GAN on a ring of modes (GRAM paper, Figs. 2, 7)",
    "projection": "data and samples in a critic's plane as it learns (GRAM paper, Figs. 1, 6, 9)",
    "annealing": "a Kernel GAN on a mixture as its bandwidth falls (Kernel GAN paper, Fig. 1)",
    "bandwidth": "its objective over the bandwidth, on MNIST (Kernel GAN paper, Fig. 9)",
    "sampler": "an implicit sampler of two densities by estimated scores (KernelNet paper, Fig. 5)",
    "nll": "log-likelihoods of nine autoencoders on MNIST (KernelNet paper, Tables 3, 5, Fig. 6)",
    "latents": "their codes: t-SNE pictures and SVMs of few labels (KernelNet paper, Figs. 7, 8)",
    "kernel_gan_table": "Kernel GANs and MMD nets on MNIST (Kernel GAN paper, Table 1)",
    "stability": "SMMD and a plain MMD-GAN, clipped and not (SMMD paper, Table 2, Fig. 2)",
    "repulsion": "hinge, attractive and repulsive losses (repulsive MMD-GAN, Table 1)",
    "kernelnet": "trained kernels under one repulsive loss (KernelNet paper, Tables 1, 4)",
    "lambda_sweep": "from attraction to repulsion (repulsive MMD-GAN, Fig. 3)",
    "pico_sweep": "the critic's factor C^K (repulsive MMD-GAN, Fig. S2, Table S3)",
    "gram_sensitivity": "FID over rate, batch and critic outputs (GRAM paper, Fig. 5)",
}

# In the process of the verb; the others need NumPy and SciPy alone.
NEED_TENSORFLOW = (
    *("critic_fields", "saturation", "ring", "projection", "annealing", "bandwidth"),
    *("sampler", "nll", "latents"),
)


def run(name: str, folder: pathlib.Path, quick: bool = False, **options: Any) -> dict[str, Any]:
    """Runs a reproduction by name.

    Args:
        name: one of `NAMES`.
        folder: where its files go; made when missing.
        quick: coarser and faster.
        **options: for the reproduction; one that it does not know is its user's mistake.

    Returns:
        What the JSON file holds.

    Raises:
        UserError: if the name is not known, its module is missing, or an option is wrong.
    """
    if name not in NAMES:
        raise unknown_name("reproduction", name, NAMES)
    module_name = f"{__name__}.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        raise UserError(f"{name} is not part of this installation; reinstall kgzoo.") from None
    known = list(inspect.signature(module.run).parameters)[2:]
    if "budget" in options and "budget" not in known:
        # An option that is given by itself counts.
        options = {**claims.options_of(name, options.pop("budget")), **options}
        quick = options.pop("quick", False) or quick
    for option in options:
        if option not in known:
            hint = f"it takes {', '.join(known)}." if known else "it takes none."
            raise UserError(f"{name} has no option {option}; {hint}")
    return module.run(pathlib.Path(folder), quick=quick, **options)
