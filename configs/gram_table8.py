"""GRAM paper, Table 8: inception scores of three initialisations (Srivastava et al., 2020).

  python -m kgzoo.main --config=configs/gram_table8.py:gram,seed0 --data_dir=...
  python -m kgzoo.main --config=configs/gram_table8.py:gram,quick --data_dir=...

Argument: a method of the table below, the initialisation (seed0, seed1, seed2), and `quick` for a
run of seconds with narrow networks; the data set is cifar10. Training as in Table 1 with the DCGAN
of Tables 5 and 6. Hardware and hours: not printed, not measured here.

Printed inception scores on CIFAR-10, one for each of three initialisations:

           seed0    seed1    seed2    measured here
  mmd_gan  5.35     5.21     5.31     not measured
  gan      5.17     4.94     5.27     not measured
  gram     5.73     5.44     5.45     not measured

Differs from the paper in: as Table 1's card, configs/gram_table1.py, does: 10,000 samples of the
averaged generator, features that are not Inception's, 100,000 updates. The table's caption names
MMD nets too, of which it has no column. The order of the seeds is the table's order of rows.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("gram", "gan", "mmd_gan")
DATASETS = ("cifar10",)

_SEEDS = {"seed0": 0, "seed1": 1, "seed2": 2}
CHOICES = (tuple(_SEEDS),)
_OWN = {
    "gram": {"bandwidths": (1.0, 2.0, 4.0, 8.0, 16.0)},
    "gan": {"output_dim": 1},
    "mmd_gan": {},
}


def get_config(argument=None):
    """Returns the fields of one cell of the table."""
    method, dataset, quick, word = parse_card_argument(argument, METHODS, DATASETS, *CHOICES)
    fields = {
        "method": method,
        "dataset": dataset,
        "seed": _SEEDS[word],
        "network": "gram_dcgan",
        "generator_width": 32,
        "critic_width": 32,
        "critic_batch_norm": True,
        "image_range": (-1.0, 1.0),
        "latent_dim": 128,
        "latent_distribution": "normal",
        "output_dim": 128,
        **_OWN[method],
        "critic_learning_rate": 5e-5,
        "generator_learning_rate": 5e-5,
        "steps": 100_000,
        "batch_size": 64,
        "num_samples": 10_000,
        "sample_every_steps": 2000,
        "checkpoint_every_steps": 2000,
        "score_every_steps": 2000,
    }
    return fields | QUICK if quick else fields
