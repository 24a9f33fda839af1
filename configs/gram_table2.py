"""GRAM paper, Table 2: MMD-GAN with its authors' networks (Srivastava et al., 2020).

  python -m kgzoo.main --config=configs/gram_table2.py:cifar10 --data_dir=...
  python -m kgzoo.main --config=configs/gram_table2.py:cifar10,quick --data_dir=...

Argument: a data set (cifar10, celeb_a) and `quick` for a run of seconds with narrow networks; the
method is mmd_gan. Printed: the fully convolutional networks of Li et al. (2017), which have an
order of magnitude more weights than those of Table 1, and all else of Li et al.'s: RMSprop at
5e-5, batch 64, 5 critic updates, weights clipped at 0.01. Hardware and hours: not printed, not
measured here.

Printed FID on a held-out set, means of three initialisations (here: --seed):

           CIFAR-10    CelebA    measured here
  mmd_gan  38.39       40.27     not measured

Differs from the paper in: scores are of 10,000 samples of the averaged generator, on features that
are not Inception's. Not printed: the updates (100,000 here), and the size of faces and their
latents (64 pixels and 64, Li et al.'s).
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("mmd_gan",)

# As many outputs of the critic as latents.
_CELL = {
    "cifar10": {"image_size": 32, "latent_dim": 128, "output_dim": 128},
    "celeb_a": {"image_size": 64, "latent_dim": 64, "output_dim": 64},
}
DATASETS = tuple(_CELL)


def get_config(argument=None):
    """Returns the fields of one row of the table."""
    method, dataset, quick = parse_card_argument(argument, METHODS, DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        **_CELL[dataset],
        "network": "li_dcgan",
        "generator_width": 64,
        "critic_width": 64,
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
