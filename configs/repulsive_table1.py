"""Repulsive MMD-GAN paper, Table 1 (Wang, Sun and Halgamuge, 2019, arXiv:1812.09916).

  python -m kgzoo.main --config=configs/repulsive_table1.py:mmd_rep,cifar10 --data_dir=...
  python -m kgzoo.main --config=configs/repulsive_table1.py:mmd_rep_b,lsun/bedroom --data_dir=...
  python -m kgzoo.main --config=configs/repulsive_table1.py:mmd_rep,cifar10,quick --data_dir=...

Argument: a method of the table below, a data set (cifar10, stl10, celeb_a, lsun/bedroom), and
`quick` for a run of seconds with narrow networks. Printed: 100,000 updates of generator and critic,
batch 64, Adam (0.5, 0.999) at constant rates, power iteration for convolutions (PICO) with
C = 1/0.55 on each layer. Hardware and hours: not printed, not measured here.

Printed IS / FID (CIFAR-10, STL-10) and FID / MS-SSIM (CelebA and LSUN bedrooms at 64 pixels), on
50,000 samples; `gan` is the non-saturating row:

             CIFAR-10        STL-10          CelebA            LSUN              measured here
  gan        7.39 / 23.23    8.25 / 48.53    10.64 / 0.2895    23.66 / 0.1027    not measured
  hinge      7.33 / 23.46    8.24 / 49.44    8.60 / 0.2894     16.73 / 0.0946    not measured
  mmd_rbf    7.05 / 28.38    8.13 / 57.52    13.03 / 0.2937    not printed       not measured
  mmd_rq     7.22 / 27.00    8.11 / 54.05    12.74 / 0.2935    not printed       not measured
  mmd_rbf_b  7.18 / 25.25    8.07 / 51.86    10.09 / 0.3090    32.29 / 0.1001    not measured
  mmd_rep    7.99 / 16.65    9.36 / 36.67    7.20 / 0.2761     16.91 / 0.0901    not measured
  mmd_rep_b  8.29 / 16.21    9.34 / 37.63    6.79 / 0.2659     12.52 / 0.0908    not measured

Differs from the paper in: it reports the best of 16 pairs of rates, here the pair of its public
scripts is used, one for each data set. Those scripts have C = 64^(1/K), K being the number of
layers (--config.spectral_product=64). Scores are of 10,000 samples of the averaged generator, on
features that are named beside them and are not Inception's; MS-SSIM is not computed.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("mmd_rep", "mmd_rep_b", "mmd_rbf", "mmd_rbf_b", "mmd_rq", "hinge", "gan")

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


def get_config(argument=None):
    """Returns the fields of one cell of the table."""
    method, dataset, quick = parse_card_argument(argument, METHODS, DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        **_CELL[dataset],
        "generator_width": 64,
        "critic_width": 64,
        "latent_dim": 128,
        # Of all rows: the catalogue's `gan` is without normalisation.
        "spectral": "pico",
        "spectral_constant": 1 / 0.55,
        "steps": 100_000,
        "batch_size": 64,
        "num_samples": 10_000,
        "sample_every_steps": 2000,
        "checkpoint_every_steps": 2000,
        "score_every_steps": 2000,
    }
    return fields | QUICK if quick else fields
