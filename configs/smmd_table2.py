"""SMMD paper, Table 2: spectral normalisation on CIFAR-10 (Arbel et al., 2018, arXiv:1805.11565).

  python -m kgzoo.main --config=configs/smmd_table2.py:sn_mmd --data_dir=...
  python -m kgzoo.main --config=configs/smmd_table2.py:sn_mmd,quick --data_dir=...

Argument: a method of the table below and `quick` for a run of seconds with narrow networks; the
data set is cifar10. Training as printed for Table 1a: 150,000 generator updates on a single GPU,
batch 64, Adam (0.5, 0.9) at 1e-4 with the relative KID scheme. Hours: not printed, not measured
here.

Printed IS / FID / KID x 1000, on Inception features of 50,000 samples:

                  CIFAR-10                measured here
  mmd_opt         5.5 / 73.9 / 39.4       not measured    (printed as MMDGAN)
  sn_wgan         2.2 / 208.5 / 178.9     not measured
  sn_wgan_gp      2.5 / 154.3 / 125.3     not measured
  sn_sobolev_gan  2.9 / 140.2 / 130.0     not measured
  sn_mmd_gp       4.6 / 96.8 / 59.5       not measured
  sn_mmd_l2       7.1 / 31.9 / 21.7       not measured
  sn_mmd          6.9 / 31.5 / 21.7       not measured
  sn_mmd_gp_l2    6.9 / 32.3 / 20.9       not measured
  sn_smmd         7.3 / 25.0 / 16.6       not measured

Differs from the paper in: its public code trains on train and test images together, here on the
50,000 training images. Scores as in Table 1a's card: 10,000 samples of the averaged generator,
features that are not Inception's. Not printed: rho = 0.01 of sn_sobolev_gan (ours) and the weights
1 of gradient and activation penalties (public scripts of Binkowski et al.).
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = (
    *("mmd_opt", "sn_wgan", "sn_wgan_gp", "sn_sobolev_gan", "sn_mmd_gp", "sn_mmd_l2"),
    *("sn_mmd", "sn_mmd_gp_l2", "sn_smmd"),
)
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
        "steps": 150_000,
        "batch_size": 64,
        "critic_learning_rate": 1e-4,
        "generator_learning_rate": 1e-4,
        "learning_rate_schedule": "relative_kid",
        "relative_kid_every_steps": 2000,
        "relative_kid_lag": 10,
        "relative_kid_patience": 3,
        "relative_kid_decay": 0.8,
        "num_samples": 10_000,
        "sample_every_steps": 2000,
        "checkpoint_every_steps": 2000,
        "score_every_steps": 2000,
    }
    return fields | QUICK if quick else fields
