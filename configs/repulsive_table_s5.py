"""Repulsive MMD-GAN paper, Table S5: outputs of the critic (Wang et al., 2019, arXiv:1812.09916).

  python -m kgzoo.main --config=configs/repulsive_table_s5.py:dim64 --data_dir=...
  python -m kgzoo.main --config=configs/repulsive_table_s5.py:dim64,quick --data_dir=...

Argument: the output dimension as a word of the table below, and `quick` for a run of seconds with
narrow networks; the method is mmd_rep, the data set cifar10. Printed: training as in Table 1, with
C^K chosen among 16, 32, 64, 128 and 256. Hardware and hours: not printed, not measured here.

          printed C^K    printed IS / FID    measured here
  dim1    64             7.43 / 22.43        not measured
  dim4    64             7.81 / 17.87        not measured
  dim16   32             8.20 / 16.99        not measured
  dim64   32             8.08 / 15.65        not measured
  dim256  32             7.96 / 16.61        not measured

Differs from the paper in: the rates are those of its public scripts for CIFAR-10. Scores as in
Table 1's card: 10,000 samples of the averaged generator, features that are not Inception's.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("mmd_rep",)
DATASETS = ("cifar10",)

# C^K of each output dimension.
_PRODUCT = {1: 64.0, 4: 64.0, 16: 32.0, 64: 32.0, 256: 32.0}
_DIMENSIONS = {f"dim{dimension}": dimension for dimension in _PRODUCT}
CHOICES = (("dim16", "dim1", "dim4", "dim64", "dim256"),)


def get_config(argument=None):
    """Returns the fields of one row of the table."""
    method, dataset, quick, word = parse_card_argument(argument, METHODS, DATASETS, *CHOICES)
    dimension = _DIMENSIONS[word]
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "sndcgan",
        "generator_width": 64,
        "critic_width": 64,
        "latent_dim": 128,
        "output_dim": dimension,
        "spectral_product": _PRODUCT[dimension],
        "critic_learning_rate": 5e-4,
        "generator_learning_rate": 2e-4,
        "steps": 100_000,
        "batch_size": 64,
        "num_samples": 10_000,
        "sample_every_steps": 2000,
        "checkpoint_every_steps": 2000,
        "score_every_steps": 2000,
    }
    return fields | QUICK if quick else fields
