"""Kernel GAN paper, sections 3.2 and 3.3: CIFAR-10 and CelebA (Sinn and Rawat, 2017).

  python -m kgzoo.main --config=configs/kernel_gan_images.py:kernel_gan_critic --data_dir=...
  python -m kgzoo.main --config=configs/kernel_gan_images.py:mmd_gan,celeb_a --data_dir=...
  python -m kgzoo.main --config=configs/kernel_gan_images.py:mmd_net_ae,quick --data_dir=...

Argument: a method of the table below, a data set (cifar10, celeb_a), and `quick` for a run of
seconds with narrow networks. Printed of kernel_gan_critic: networks and training of Li et al.
(2017), 100 outputs, bandwidths 1, 2, 4, 8 and 16, weight 100 of the autoencoder, weights clipped at
0.01 after every update, normal latents in 128 dimensions (CelebA: 64), 5,000 iterations on
CIFAR-10. Hardware and hours: not printed, not measured here.

Printed inception scores on CIFAR-10, of kernel_gan_critic on 5 times 10,000 samples (held-out
images: 11.95); the other four are those of Li et al. (2017):

                     CIFAR-10    CelebA         measured here
  kernel_gan_critic  4.22        not printed    not measured
  mmd_net_ae         3.94        not printed    not measured    (GMMN-AE)
  mmd_net            3.47        not printed    not measured    (GMMN)
  mmd_gan            6.17        not printed    not measured
  wgan               5.88        not printed    not measured

Differs from the paper in: scores are of 10,000 samples of the averaged generator, on features that
are not Inception's. Not printed: the updates on CelebA (5,000 here), those of the cited rows
(100,000 here), the size of faces (64 pixels, Li et al.'s), the optimiser and the number of critic
updates for one of the generator (Li et al.'s RMSprop at 5e-5, and 5), the outputs of mmd_gan (128),
and all of mmd_net and mmd_net_ae: here networks as of the others, batch 200, RMSprop at 1e-3, codes
of 100 dimensions, and the printed bandwidths, in codes 1, 0.5, 0.1, 0.05 and 0.01 as for MNIST.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("kernel_gan_critic", "mmd_net_ae", "mmd_net", "mmd_gan", "wgan")

_CELL = {
    "cifar10": {"image_size": 32, "latent_dim": 128},
    "celeb_a": {"image_size": 64, "latent_dim": 64},
}
DATASETS = tuple(_CELL)

# Li et al.'s updates; the critic's early schedule, clipping and decoder are the rows'.
_LI = {
    "optimizer": "rmsprop",
    "critic_learning_rate": 5e-5,
    "generator_learning_rate": 5e-5,
    "critic_steps": 5,
    "clip_weights": 0.01,
    "steps": 100_000,
    "batch_size": 64,
}
_NET = {
    "optimizer": "rmsprop",
    "generator_learning_rate": 1e-3,
    "steps": 100_000,
    "batch_size": 200,
}
_OWN = {
    "kernel_gan_critic": {
        **_LI,
        "bandwidths": (1.0, 2.0, 4.0, 8.0, 16.0),
        "output_dim": 100,
        "autoencoder_weight": 100.0,
        "steps": 5000,
    },
    "mmd_net_ae": {
        **_NET,
        "bandwidths": (1.0, 0.5, 0.1, 0.05, 0.01),
        "output_dim": 100,
        "autoencoder_steps": 20_000,
    },
    "mmd_net": {**_NET, "bandwidths": (1.0, 2.0, 4.0, 8.0, 16.0)},
    "mmd_gan": {**_LI, "output_dim": 128},
    "wgan": _LI,
}


def get_config(argument=None):
    """Returns the fields of one method on one data set."""
    method, dataset, quick = parse_card_argument(argument, METHODS, DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        **_CELL[dataset],
        "network": "li_dcgan",
        "generator_width": 64,
        "critic_width": 64,
        "image_range": (-1.0, 1.0),
        "latent_distribution": "normal",
        **_OWN[method],
        "num_samples": 10_000,
        "sample_every_steps": 500,
        "checkpoint_every_steps": 500,
        "score_every_steps": 500,
    }
    if quick:
        fields |= QUICK
        # Of methods in a code space alone.
        fields |= {"autoencoder_steps": 4} if "autoencoder_steps" in fields else {}
    return fields
