"""Repulsive MMD-GAN paper, Table S3: two power iterations (Wang et al., 2019, arXiv:1812.09916).

  python -m kgzoo.main --config=configs/repulsive_table_s3.py:mmd_rep,cifar10,pico --data_dir=...
  python -m kgzoo.main --config=configs/repulsive_table_s3.py:mmd_rep,cifar10,pim --data_dir=...
  python -m kgzoo.main --config=configs/repulsive_table_s3.py:mmd_rep,stl10,quick --data_dir=...

Argument: a method of the table below, a data set (cifar10, stl10, celeb_a, lsun/bedroom), the power
iteration (pico: of the convolution; pim: of the reshaped kernel) and `quick` for a run of seconds
with narrow networks. Training as in Table 1, except that under PICO the factors of all K layers
make C^K = 128 for hinge and mmd_rbf, 64 for mmd_rep and mmd_rep_b. Figure S2 has 16, 32, 64, 128
and 256 of them all: --config.spectral_product=16. Hardware and hours: not printed, not measured
here.

Printed FID, PIM / PICO, the best of 16 pairs of rates:

             CIFAR-10        STL-10          CelebA          LSUN             measured here
  hinge      23.60 / 22.89   47.10 / 47.24   10.02 / 9.08    27.38 / 17.20    not measured
  mmd_rbf    26.56 / 26.50   53.17 / 54.23   13.06 / 12.81   not printed      not measured
  mmd_rep    19.98 / 17.00   40.40 / 37.15   8.51 / 6.81     74.03 / 16.01    not measured
  mmd_rep_b  18.24 / 16.65   39.78 / 37.31   7.09 / 6.42     20.12 / 11.22    not measured

Differs from the paper in: the rates are those of its public scripts, one pair for each data set.
The paper gives no factor for PIM: here it is 1. Scores as in Table 1's card: 10,000 samples of the
averaged generator, features that are not Inception's.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("mmd_rep", "mmd_rep_b", "hinge", "mmd_rbf")

_CELL = {
    "cifar10": {
        "network": "sndcgan",
        "image_size": 32,
        "critic_learning_rate": 5e-4,
        "generator_learning_rate": 2e-4,
    },
    "stl10": {
        "network": "sndcgan",
        "image_size": 48,
        "critic_learning_rate": 2e-4,
        "generator_learning_rate": 2e-4,
    },
    "celeb_a": {
        "network": "dcgan64",
        "image_size": 64,
        "critic_learning_rate": 1e-4,
        "generator_learning_rate": 2e-4,
    },
    "lsun/bedroom": {
        "network": "dcgan64",
        "image_size": 64,
        "critic_learning_rate": 2e-4,
        "generator_learning_rate": 1e-4,
    },
}
DATASETS = tuple(_CELL)
CHOICES = (("pico", "pim"),)

_PRODUCT = {"hinge": 128.0, "mmd_rbf": 128.0, "mmd_rep": 64.0, "mmd_rep_b": 64.0}


def get_config(argument=None):
    """Returns the fields of one cell of the table."""
    method, dataset, quick, iteration = parse_card_argument(argument, METHODS, DATASETS, *CHOICES)
    fields = {
        "method": method,
        "dataset": dataset,
        **_CELL[dataset],
        "generator_width": 64,
        "critic_width": 64,
        "latent_dim": 128,
        "spectral": iteration,
        "spectral_constant": 1.0,
        "spectral_product": _PRODUCT[method] if iteration == "pico" else 0.0,
        "steps": 100_000,
        "batch_size": 64,
        "num_samples": 10_000,
        "sample_every_steps": 2000,
        "checkpoint_every_steps": 2000,
        "score_every_steps": 2000,
    }
    return fields | QUICK if quick else fields
