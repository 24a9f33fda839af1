"""Toys in one to three dimensions: methods that can be watched, and the one that needs such data.

  python -m kgzoo.main --config=configs/toys.py:gram,ring2d
  python -m kgzoo.main --config=configs/toys.py:kernel_gan,mog
  python -m kgzoo.main --config=configs/toys.py:lipmmd,ring2d,quick

Argument: a method of the list below, a data set (ring2d, ring2d_wide, ring3d, mog, gaussian,
laplace1d, mixture1d) and `quick` for a run of seconds with narrow networks. Nothing has to be on
disk. lipmmd solves a convex programme at every update, which takes `pip install "kgzoo[lipmmd]"`
and one device. Hours: not measured.

              printed        measured here
  lipmmd      not printed    not measured
  gcmmd       not printed    not measured
  sn_gcmmd    not printed    not measured
  smmd        not printed    not measured
  swgan       not printed    not measured
  mmd_opt     not printed    not measured
  mmd_rbf     not printed    not measured
  mmd_rep     not printed    not measured
  mmd_rep_b   not printed    not measured
  rep_dk      not printed    not measured
  wgan_gp     not printed    not measured
  gan         not printed    not measured
  gram        not printed    not measured beyond export/gram_ring2d
  mmd_net     not printed    not measured
  mmd_gan     not printed    not measured
  kernel_gan  not printed    not measured

gram, mmd_net and mmd_gan train as in appendix B of the GRAM paper (Srivastava et al., 2020): two
hidden layers of 100 units, normal latents, batch 200, bandwidth 1, no batch normalisation; Adam at
1e-3 (mmd_net: RMSprop; mmd_gan: 5e-5, weights clipped at 0.1, twice the epochs) and 10 critic
outputs. Its number of latents is 2, 4, 8 or 16, here 16.
kernel_gan trains as in section 3.1 of the Kernel GAN paper (Sinn and Rawat, 2017): three hidden
layers of 128 units, 100 normal latents, one bandwidth after the other, 0.8, 0.4, 0.2, 0.1, 0.05 and
0.025, for 10,000 updates each.

Differs from the papers in: Arbel et al. (2018) define the Lipschitz MMD and never train with it.
For all but the last four methods the network is a perceptron with three hidden layers, and the
rates are five times those of images. Not printed of kernel_gan: batch (200) and optimiser (RMSprop
at 1e-3); of gram: the ridge (1e-3). gram and mmd_net minimise the square root of MMD^2, which the
paper does not print (--config.objective=mmd2: eq. 10).
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = (
    *("lipmmd", "gcmmd", "sn_gcmmd", "smmd", "swgan", "mmd_opt"),
    *("mmd_rbf", "mmd_rep", "mmd_rep_b", "rep_dk", "wgan_gp", "gan"),
    *("gram", "mmd_net", "mmd_gan", "kernel_gan"),
)
DATASETS = ("ring2d", "ring2d_wide", "ring3d", "mog", "gaussian", "laplace1d", "mixture1d")

# The GRAM paper's appendix B; 2,000 epochs are 10,000 updates.
_RING = {
    "network": "mlp_two",
    "generator_width": 100,
    "critic_width": 100,
    "critic_batch_norm": False,
    "latent_dim": 16,
    "latent_distribution": "normal",
    "learning_rate_multiplier": 1.0,
    "steps": 10_000,
    "batch_size": 200,
}
_OWN = {
    # The work of a programme grows with the cube of the batch.
    "lipmmd": {"batch_size": 32, "steps": 1000, "sample_every_steps": 100},
    "gram": {
        **_RING,
        "output_dim": 10,
        "bandwidths": (1.0,),
        "critic_learning_rate": 1e-3,
        "generator_learning_rate": 1e-3,
        "ema_half_life_images": 20_000.0,
        "adam_beta1": 0.5,
    },
    "mmd_net": {
        **_RING,
        "bandwidths": (1.0,),
        "optimizer": "rmsprop",
        "generator_learning_rate": 1e-3,
    },
    "mmd_gan": {
        **_RING,
        "output_dim": 10,
        "kernel": "gaussian",
        "optimizer": "adam",
        "critic_learning_rate": 5e-5,
        "generator_learning_rate": 5e-5,
        "adam_beta1": 0.5,
        "adam_beta2": 0.999,
        "critic_steps": 5,
        "early_critic_steps": 0,
        "clip_weights": 0.1,
        "steps": 20_000,
    },
    "kernel_gan": {
        "network": "mlp_tanh",
        "latent_dim": 100,
        "latent_distribution": "normal",
        "bandwidths": (0.8, 0.4, 0.2, 0.1, 0.05, 0.025),
        "bandwidth_schedule": "staircase",
        "bandwidth_every_steps": 10_000,
        "optimizer": "rmsprop",
        "generator_learning_rate": 1e-3,
        "learning_rate_multiplier": 1.0,
        "steps": 60_000,
        "batch_size": 200,
        "sample_every_steps": 10_000,
    },
}


def get_config(argument=None):
    """Returns the fields of one method on one toy."""
    method, dataset, quick = parse_card_argument(argument, METHODS, DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "mlp",
        "generator_width": 128,
        "critic_width": 128,
        "latent_dim": 16,
        "steps": 5000,
        "batch_size": 128,
        "learning_rate_multiplier": 5.0,
        "ema_half_life_images": 10_000.0,
        "sample_every_steps": 1000,
        **_OWN.get(method, {}),
    }
    return fields | QUICK if quick else fields
