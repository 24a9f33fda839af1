"""SMMD paper, Figure 8: gradient-constrained MMD on MNIST (Arbel et al., 2018, arXiv:1805.11565).

  python -m kgzoo.main --config=configs/smmd_figure8.py:gcmmd --data_dir=...
  python -m kgzoo.main --config=configs/smmd_figure8.py:gcmmd,quick --data_dir=...

Argument: a method of the list below and `quick` for a run of seconds with narrow networks; the
data set is mnist. Printed (appendix F.2): a DCGAN, batch 64, otherwise as in section 4; days on the
CPUs of powerful workstations. Samples are shown at 32,000 generator updates of gcmmd and at 41,000
of sn_gcmmd; after them the critic collapses in rank. No score is printed as a number, only curves.
Hours here: not measured.

            printed        measured here
  gcmmd     not printed    not measured
  sn_gcmmd  not printed    not measured
  smmd      not printed    not measured
  sn_smmd   not printed    not measured

Differs from the paper in: the system of Proposition 3 is solved exactly, with M (1 + s) unknowns in
place of an incomplete Cholesky factor of M (1 + d); the DCGAN is `dcgan_small` at width 64, the
paper gives no layers; scores are of the averaged generator on the data set's own features.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("gcmmd", "sn_gcmmd", "smmd", "sn_smmd")
DATASETS = ("mnist",)


def get_config(argument=None):
    """Returns the fields of one curve of the figure."""
    method, dataset, quick = parse_card_argument(argument, METHODS, DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "dcgan_small",
        "generator_width": 64,
        "critic_width": 64,
        "latent_dim": 128,
        # The later of the two pictures, and a little of what follows.
        "steps": 45_000,
        "batch_size": 64,
        "critic_learning_rate": 1e-4,
        "generator_learning_rate": 1e-4,
        # The data set's own factor is for its narrower networks.
        "learning_rate_multiplier": 1.0,
        "learning_rate_schedule": "relative_kid",
        "relative_kid_every_steps": 2000,
        "relative_kid_lag": 10,
        "relative_kid_patience": 3,
        "relative_kid_decay": 0.8,
        "num_samples": 10_000,
        "sample_every_steps": 1000,
        "checkpoint_every_steps": 1000,
        "score_every_steps": 1000,
    }
    return fields | QUICK if quick else fields
