"""Repulsive MMD-GAN paper, Figure 3: the loss's lambda (Wang et al., 2019, arXiv:1812.09916).

  python -m kgzoo.main --config=configs/repulsive_figure3.py:lambda-0.5,rbf --data_dir=...
  python -m kgzoo.main --config=configs/repulsive_figure3.py:lambda1,rbf_b,quick --data_dir=...

Argument: lambda as a word (lambda-1, lambda-0.5, lambda0, lambda0.5, lambda1, lambda2), the
kernel of the critic's loss (rbf, or rbf_b for the bounded one), and `quick` for a run of seconds
with narrow networks; the method is mmd_lambda, the data set cifar10. Printed: training as in Table
1 for 16 pairs of rates, 1e-4, 2e-4, 5e-4 and 1e-3 of either player; here one pair a run, other ones
by --config.critic_learning_rate and --config.generator_learning_rate. Hardware and hours: not
printed, not measured here.

The figure has bars of FID and no numbers. The text says of it: lambda = 0.5 and 1 are slightly
better than -0.5, 0 and 2; going from -1 to -0.5 improves the plain kernel a lot; larger lambda may
diverge more often; the bounded kernel stabilises most of the runs that diverge.

              printed        measured here
  mmd_lambda  not printed    not measured

Differs from the paper in: the rates are those of its public scripts for CIFAR-10. Footnote 5 gives
lambda < 0 the bounds of eq. 6 and is silent on the others, which here have those of eq. 7. Scores
as in Table 1's card: 10,000 samples of the averaged generator, features that are not Inception's.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("mmd_lambda",)
DATASETS = ("cifar10",)

_LAMBDA = {
    "lambda0.5": 0.5,
    "lambda-1": -1.0,
    "lambda-0.5": -0.5,
    "lambda0": 0.0,
    "lambda1": 1.0,
    "lambda2": 2.0,
}
_BOUNDING = {"rbf": "none", "rbf_b": "paper"}
CHOICES = (tuple(_LAMBDA), tuple(_BOUNDING))


def get_config(argument=None):
    """Returns the fields of one group of bars of the figure."""
    method, dataset, quick, repulsion, kernel = parse_card_argument(
        argument, METHODS, DATASETS, *CHOICES
    )
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "sndcgan",
        "generator_width": 64,
        "critic_width": 64,
        "latent_dim": 128,
        "repulsion": _LAMBDA[repulsion],
        "bounding": _BOUNDING[kernel],
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
