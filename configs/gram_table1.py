"""GRAM paper, Table 1: CIFAR-10 and CelebA (Srivastava et al., 2020).

  python -m kgzoo.main --config=configs/gram_table1.py:gram,cifar10,dcgan --data_dir=...
  python -m kgzoo.main --config=configs/gram_table1.py:gram,celeb_a --data_dir=...
  python -m kgzoo.main --config=configs/gram_table1.py:gram,weaker,quick --data_dir=...

Argument: a method of the table below, a data set (cifar10, celeb_a), the critic (dcgan, Tables 5
and 6 of the paper; weaker, Table 7), and `quick` for a run of seconds with narrow networks.
Printed: rates 5e-5, batch 64 and bandwidths 1, 2, 4, 8 and 16 as in Li et al. (2017), as many
critic outputs as latents (K = h), batch normalisation in both networks, images in [-1, 1].
Hardware and hours: not printed, not measured here.

Printed FID on a held-out set, means of three initialisations (here: --seed):

           dcgan, CIFAR-10    weaker, CIFAR-10    dcgan, CelebA    measured here
  gram     24.85              24.82               27.04            not measured
  gan      26.82              31.64               30.97            not measured
  mmd_gan  40.00              210.85              41.105           not measured

Differs from the paper in: scores are of 10,000 samples of the averaged generator, on features that
are not Inception's; gram's generator minimises the square root of MMD^2, as in the public code
(--config.objective=mmd2: eq. 10). mmd_gan is Li et al.'s with all its penalties. Not printed: the
updates (100,000 here), the optimiser of gram and gan (Adam, whose first decay is 0.5 in appendix
B), the ridge (1e-3), the noise (normal), and of CelebA everything but the scores (here 64 pixels
and 64 latents, Li et al.'s).
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("gram", "gan", "mmd_gan")

# Latents h and, but for the GAN's, outputs K of the critic.
_CELL = {
    "cifar10": {"image_size": 32, "latent_dim": 128, "output_dim": 128},
    "celeb_a": {"image_size": 64, "latent_dim": 64, "output_dim": 64},
}
DATASETS = tuple(_CELL)
_NETWORKS = {"dcgan": "gram_dcgan", "weaker": "gram_dcgan_weak"}
CHOICES = (tuple(_NETWORKS),)
_OWN = {
    "gram": {"bandwidths": (1.0, 2.0, 4.0, 8.0, 16.0)},
    "gan": {"output_dim": 1},
    "mmd_gan": {},
}


def get_config(argument=None):
    """Returns the fields of one cell of the table."""
    method, dataset, quick, critic = parse_card_argument(argument, METHODS, DATASETS, *CHOICES)
    fields = {
        "method": method,
        "dataset": dataset,
        **_CELL[dataset],
        "network": _NETWORKS[critic],
        "generator_width": 32,
        "critic_width": 32,
        "critic_batch_norm": True,
        "image_range": (-1.0, 1.0),
        "latent_distribution": "normal",
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
