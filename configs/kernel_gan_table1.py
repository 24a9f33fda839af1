"""Kernel GAN paper, Table 1: generators on MNIST (Sinn and Rawat, 2017, arXiv:1705.09199).

  python -m kgzoo.main --config=configs/kernel_gan_table1.py:kernel_gan,fc --data_dir=...
  python -m kgzoo.main --config=configs/kernel_gan_table1.py:kernel_gan,dc --data_dir=...
  python -m kgzoo.main --config=configs/kernel_gan_table1.py:kernel_gan_ae,quick --data_dir=...

Argument: a method of the table below, the generator of a method in data space (fc, the fully
connected one of Li et al. (2015), or dc, a DCGAN; those in code space are fully connected whatever
the word), and `quick` for a run of seconds with narrow networks; the data set is mnist. Printed:
batch 1,000, RMSprop at 1e-3, latents uniform in 10 dimensions, phi = 0, Gaussian kernels of
bandwidths 100, 50, 10, 5, 1, 0.5, 0.1, 0.05 and 0.01 mixed in data space, the last five of them,
from 1 on, in codes of 32 dimensions; an autoencoder trained by cross-entropy and Adam, with
dropout. Hardware and hours: not printed, not measured here.

Printed, on 10,000 samples, EE and LS by a LeNet, JSD-F and JSD-S being the halves of JSD:

                 EE     ENN     LS     JSD     JSD-F   JSD-S   MMD    measured here
  kernel_gan,fc  0.408  23.005  6.601  -1.384  -0.740  -0.644  0.019  not measured  (FC)
  kernel_gan,dc  0.289  20.713  7.464  -1.385  -0.740  -0.645  0.017  not measured  (DC)
  kernel_gan_ae  0.365  14.674  6.916  -1.371  -0.769  -0.603  0.084  not measured  (FC-FS)
  mmd_net_ae     0.361  14.730  6.948  -1.372  -0.776  -0.596  0.091  not measured  (GMMN-AE)
  mmd_net        0.293  27.852  7.408  -1.383  -0.689  -0.694  0.005  not measured  (GMMN)
  test set       0.023  19.299  9.752  -1.386  -0.693  -0.693  0.000

The test set's ENN is the mean of squared distances (of pixels in [0, 1]); its JSD and MMD are those
of a sample with itself, -log 4 and 0.

Differs from the paper in: scores are of the averaged generator, by this project's own classifier,
which gives EE and LS (`expected_entropy`, `classifier_score`). MMD nets minimise the square root of
MMD^2. ENN is `enn_squared`; JSD and MMD are those of `kgzoo/evaluation/lenet_scores.py`.
Not printed: the updates (20,000 here, and 6,000 of the autoencoder at 1e-3), the share of dropout
(0.2), whether kernels are mixed by sum or mean and with or without 1/sigma^k (--config.mixture and
--config.density_kernels), the RMSprop decay, and the range of the uniform latents ([-1, 1]). The DC
generator is `dcgan_small`; mmd_net with dc is not in the table.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("kernel_gan", "kernel_gan_ae", "mmd_net", "mmd_net_ae")
DATASETS = ("mnist",)

_NETWORKS = {"fc": "gmmn", "dc": "dcgan_small"}
CHOICES = (tuple(_NETWORKS),)

_DATA_SPACE = {"bandwidths": (100.0, 50.0, 10.0, 5.0, 1.0, 0.5, 0.1, 0.05, 0.01)}
_CODE_SPACE = {
    "network": "gmmn",
    "output_dim": 32,
    "bandwidths": (1.0, 0.5, 0.1, 0.05, 0.01),
    "autoencoder_steps": 6000,
    "autoencoder_learning_rate": 1e-3,
    "autoencoder_dropout": 0.2,
}


def get_config(argument=None):
    """Returns the fields of one column of the table."""
    method, dataset, quick, generator = parse_card_argument(argument, METHODS, DATASETS, *CHOICES)
    fields = {
        "method": method,
        "dataset": dataset,
        "network": _NETWORKS[generator],
        "generator_width": 64,
        "critic_width": 64,
        "latent_dim": 10,
        "latent_distribution": "uniform",
        **(_CODE_SPACE if method.endswith("_ae") else _DATA_SPACE),
        "optimizer": "rmsprop",
        "generator_learning_rate": 1e-3,
        # The data set's own factor is for its narrower networks.
        "learning_rate_multiplier": 1.0,
        "steps": 20_000,
        "batch_size": 1000,
        "num_samples": 10_000,
        "sample_every_steps": 1000,
        "checkpoint_every_steps": 1000,
        "score_every_steps": 1000,
    }
    if quick:
        fields |= QUICK
        # Of methods in a code space alone.
        fields |= {"autoencoder_steps": 4} if "autoencoder_steps" in fields else {}
    return fields
