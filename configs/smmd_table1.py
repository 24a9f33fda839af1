"""SMMD paper, Table 1a: image generation on CIFAR-10 (Arbel et al., 2018, arXiv:1805.11565).

  python -m kgzoo.main --config=configs/smmd_table1.py:sn_smmd,cifar10 --data_dir=...
  python -m kgzoo.main --config=configs/smmd_table1.py:sn_smmd,cifar10,quick --data_dir=...

Argument: a method (smmd, sn_smmd, swgan, sn_swgan), a data set (cifar10), and `quick` for a run of
seconds with narrow networks. Printed: 150,000 generator updates on one GPU, batch 64, Adam
(0.5, 0.9) at 1e-4, Inception features of 25,000 samples. Hardware and hours here: not measured.

            printed IS / FID / KID x 1000     measured here
  smmd      7.0 / 31.5 / 22.2                 not measured
  sn_smmd   7.3 / 25.0 / 16.6                 not measured
  swgan     not printed                       not measured
  sn_swgan  7.2 / 28.5 / 17.6                 not measured

Differs from the paper in: it decays the rates by a relative KID test, here they are constant; its
public code trains on train and test images together, here on the 50,000 training images.
"""

from kgzoo.config import parse_card_argument

_METHODS = ("smmd", "sn_smmd", "swgan", "sn_swgan")
_DATASETS = ("cifar10",)


def get_config(argument=None):
    """Returns the fields of one cell of the table."""
    method, dataset, quick = parse_card_argument(argument, _METHODS, _DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "sndcgan",
        "generator_width": 64,
        "critic_width": 64,
        "latent_dim": 128,
        "steps": 150_000,
        "batch_size": 64,
        "sample_every_steps": 2000,
        "checkpoint_every_steps": 2000,
        "score_every_steps": 2000,
    }
    if quick:
        fields |= {
            "generator_width": 8,
            "critic_width": 8,
            "steps": 10,
            "batch_size": 16,
            "num_samples": 64,
            "sample_every_steps": 10,
            "checkpoint_every_steps": 10,
            "score_every_steps": 0,
        }
    return fields
