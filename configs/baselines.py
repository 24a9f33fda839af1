"""Baselines on CIFAR-10 that no table of the five papers trains as they are here.

  python -m kgzoo.main --config=configs/baselines.py:cr_gan --data_dir=...
  python -m kgzoo.main --config=configs/baselines.py:cr_gan,quick --data_dir=...

Argument: a method of the table below and `quick` for a run of seconds with narrow networks; the
data set is cifar10. The networks are those of Miyato et al. (2018), the optimisers those of the
catalogue's rows; 100,000 updates and batch 64 are this card's choice. Hardware and hours: not
printed, not measured here.

What papers print of them, with networks and training of their own:

               IS      FID      measured here
  gan          -       26.82    not measured    GRAM paper, Table 1
  gan_minimax  -       -        not measured
  wgan         5.88    -        not measured    Kernel GAN paper, section 3.3 (from Li et al.)
  cr_gan       7.9     18.7     not measured    KernelNet paper, Table 2

Differs from those papers in: the networks and the training above. Scores are of 10,000 samples of
the averaged generator, on features that are not Inception's.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("gan", "gan_minimax", "wgan", "cr_gan")
DATASETS = ("cifar10",)


def get_config(argument=None):
    """Returns the fields of one row of the table."""
    method, dataset, quick = parse_card_argument(argument, METHODS, DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "sndcgan",
        "generator_width": 64,
        "critic_width": 64,
        "latent_dim": 128,
        "steps": 100_000,
        "batch_size": 64,
        "num_samples": 10_000,
        "sample_every_steps": 2000,
        "checkpoint_every_steps": 2000,
        "score_every_steps": 2000,
    }
    return fields | QUICK if quick else fields
