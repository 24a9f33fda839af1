"""SMMD paper, Table 1a: CIFAR-10 and CelebA at 160 pixels (Arbel et al., 2018, arXiv:1805.11565).

  python -m kgzoo.main --config=configs/smmd_table1a.py:sn_smmd,cifar10 --data_dir=...
  python -m kgzoo.main --config=configs/smmd_table1a.py:sn_smmd,celeb_a --data_dir=...
  python -m kgzoo.main --config=configs/smmd_table1a.py:sn_smmd,cifar10,quick --data_dir=...

Argument: a method of the table below, a data set (cifar10, celeb_a), and `quick` for a run of
seconds with narrow networks (faces of 64 pixels). Printed: 150,000 generator updates on a single
GPU, batch 64, Adam (0.5, 0.9) at 1e-4, multiplied by 0.8 when three relative KID tests in a row,
every 2,000 updates against 20,000 before, show no improvement. Hours: not printed, not measured
here.

Printed IS / FID / KID x 1000, on Inception features of 50,000 samples:

                 CIFAR-10             CelebA 160          measured here
  wgan_gp        6.9 / 31.1 / 22.2    2.7 / 29.2 / 22.0   not measured
  mmd_gan_gp_l2  6.9 / 31.4 / 23.3    2.6 / 20.5 / 13.0   not measured
  sobolev_gan    7.0 / 30.3 / 22.3    2.9 / 16.4 / 10.6   not measured
  smmd           7.0 / 31.5 / 22.2    2.7 / 18.4 / 11.5   not measured
  sn_gan         7.2 / 26.7 / 16.1    2.7 / 22.6 / 14.6   not measured
  sn_swgan       7.2 / 28.5 / 17.6    2.8 / 14.1 / 7.7    not measured
  sn_smmd        7.3 / 25.0 / 16.6    2.8 / 12.4 / 6.1    not measured
  swgan          not printed          not printed         not measured
  mmd_gan_gp     not printed          not printed         not measured

Differs from the paper in: scores are of 10,000 samples of the averaged generator
(--config.ema_half_life_images=0: of the last one), the relative KID tests look at it too, on
features that are named beside them and are not Inception's. Its public code trains CIFAR-10 on
train and test images together, here on the 50,000 training images; and it cuts faces at random and
flips them, here the centre square is resized. Not printed: rho = 0.01 of sobolev_gan (ours) and the
weights 1 of the penalties of mmd_gan_gp and mmd_gan_gp_l2 (public scripts of Binkowski et al.).
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = (
    *("smmd", "sn_smmd", "swgan", "sn_swgan", "wgan_gp", "sobolev_gan", "sn_gan"),
    *("mmd_gan_gp_l2", "mmd_gan_gp"),
)
DATASETS = ("cifar10", "celeb_a")

_NETWORKS = {
    "cifar10": {"network": "sndcgan", "image_size": 32},
    "celeb_a": {"network": "dcgan_resnet", "image_size": 160},
}


def get_config(argument=None):
    """Returns the fields of one cell of the table."""
    method, dataset, quick = parse_card_argument(argument, METHODS, DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        **_NETWORKS[dataset],
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
    if quick:
        fields |= QUICK
        # The scores look at every face of the test split.
        fields["image_size"] = min(fields["image_size"], 64)
    return fields
