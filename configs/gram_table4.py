"""GRAM paper, Table 4: what MMD-GAN owes to its penalties (Srivastava et al., 2020, appendix C.2).

  python -m kgzoo.main --config=configs/gram_table4.py:full --data_dir=...
  python -m kgzoo.main --config=configs/gram_table4.py:fsr,batch300 --data_dir=...
  python -m kgzoo.main --config=configs/gram_table4.py:full,quick --data_dir=...

Argument: which penalties (full; fsr, the feasible set reduction alone; ae, the autoencoder alone;
none), the batch (batch64, batch300), and `quick` for a run of seconds with narrow networks and
without the early schedule of the critic; the method is mmd_gan, the data set cifar10. Printed: the
DCGAN of four layers (Tables 5 and 6), Li et al.'s settings, rates 5e-5. Updates, hardware and
hours: not printed, not measured here; 100,000 updates are this card's choice.

Printed inception scores:

        batch 64    batch 300    measured here
  full  5.35        5.43         not measured    (mmd_gan as it is)
  fsr   5.40        5.15         not measured
  ae    3.26        3.68         not measured
  none  3.51        3.87         not measured

Differs from the paper in: scores are of 10,000 samples of the averaged generator, on features that
are not Inception's.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("mmd_gan",)
DATASETS = ("cifar10",)

# Weights of the autoencoder and of the feasible set reduction.
_WEIGHTS = {"full": (8.0, 16.0), "fsr": (0.0, 16.0), "ae": (8.0, 0.0), "none": (0.0, 0.0)}
_BATCH_SIZE = {"batch64": 64, "batch300": 300}
CHOICES = (tuple(_WEIGHTS), tuple(_BATCH_SIZE))


def get_config(argument=None):
    """Returns the fields of one cell of the table."""
    method, dataset, quick, penalties, batch = parse_card_argument(
        argument, METHODS, DATASETS, *CHOICES
    )
    autoencoder_weight, feasible_set_weight = _WEIGHTS[penalties]
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "gram_dcgan",
        "generator_width": 32,
        "critic_width": 32,
        "latent_dim": 128,
        "output_dim": 128,
        "autoencoder_weight": autoencoder_weight,
        "feasible_set_weight": feasible_set_weight,
        "steps": 100_000,
        "batch_size": _BATCH_SIZE[batch],
        "num_samples": 10_000,
        "sample_every_steps": 2000,
        "checkpoint_every_steps": 2000,
        "score_every_steps": 2000,
    }
    return fields | QUICK if quick else fields
