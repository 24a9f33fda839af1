"""SMMD paper, Table 1b: ImageNet at 64 pixels (Arbel et al., 2018, arXiv:1805.11565).

  python -m kgzoo.main --config=configs/smmd_table1b.py:sn_smmd --data_dir=...
  python -m kgzoo.main --config=configs/smmd_table1b.py:sn_smmd,quick --data_dir=...

Argument: a method of the table below and `quick` for a run of seconds with narrow networks; the
data set is imagenet_resized/64x64. Printed: 150,000 generator updates on 3 GPUs, 64 examples on
each, the MMD averaged over them (the block estimator), Adam (0.5, 0.9) at 2e-4 with the relative
KID scheme of Table 1a. Hours: not printed, not measured here.

Printed IS / FID / KID x 1000, on Inception features of 50,000 samples:

                 ImageNet 64           measured here
  bgan           10.7 / 43.9 / 47.0    not measured
  sn_gan         11.2 / 47.5 / 44.4    not measured
  smmd           10.7 / 38.4 / 39.3    not measured
  sn_smmd        10.9 / 36.6 / 34.6    not measured

Differs from the paper in: it scored models of bgan (74 epochs, a similar network) and of sn_gan
(250,000 updates, the same network) that their authors had trained; here these rows have the
network, batch and rates of the others and 250,000 updates. With fewer than 3 GPUs the 192 examples
of a batch are in fewer blocks. Scores as in Table 1a's card: 10,000 samples of the averaged
generator, features that are not Inception's.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("sn_smmd", "smmd", "sn_gan", "bgan")
DATASETS = ("imagenet_resized/64x64",)

_REPLICAS = 3


def get_config(argument=None):
    """Returns the fields of one row of the table."""
    method, dataset, quick = parse_card_argument(argument, METHODS, DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "resnet",
        "image_size": 64,
        "generator_width": 64,
        "critic_width": 64,
        "latent_dim": 128,
        "steps": 250_000 if method in ("bgan", "sn_gan") else 150_000,
        "batch_size": 64 * _REPLICAS,
        "mmd_scope": "replica",
        "critic_learning_rate": 2e-4,
        "generator_learning_rate": 2e-4,
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
        # Whatever the number of GPUs up to 4, it divides the batch.
        fields |= {**QUICK, "batch_size": 4 * _REPLICAS}
    return fields
