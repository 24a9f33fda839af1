"""GRAM paper, Figure 5: what FID owes to rate, batch and critic outputs (Srivastava et al., 2020).

  python -m kgzoo.main --config=configs/gram_figure5.py:gram,rate1e-3 --data_dir=...
  python -m kgzoo.main --config=configs/gram_figure5.py:mmd_gan,batch256 --data_dir=...
  python -m kgzoo.main --config=configs/gram_figure5.py:gram,dim1000,quick --data_dir=...

Argument: a method of the list below, one point of one sweep, and `quick` for a run of seconds with
narrow networks; the data set is cifar10. The sweeps are the rates of both networks (rate5e-5,
rate1e-5, rate1e-4, rate5e-4, rate1e-3), the batch (batch32, batch64, batch128, batch256, batch512)
and the outputs K of the critic (dim16, dim32, dim64, dim128, dim256, dim512, dim1000, dim2000; a
GAN's critic has one whatever the word). What a word does not change is as in Table 1: rates 5e-5,
batch 64, K = 128, the DCGAN of Tables 5 and 6. Hardware and hours: not printed, not measured here.

The figure has curves of FID and no numbers. The text (section 4.2) says of it: gram is about as
robust to the rate as gan and mmd_gan is not; smaller batches are better for all three; FID
improves steadily with K until K = 1,000, larger values sharply degrade it.

           printed        measured here
  gram     not printed    not measured
  gan      not printed    not measured
  mmd_gan  not printed    not measured

Differs from the paper in: the text names of the points on the axes K = 1,000 alone, the others are
this card's choice; the paper shows the sweep of K for gram only. Else as Table 1's card,
configs/gram_table1.py: 10,000 samples of the averaged generator, features that are not Inception's,
100,000 updates.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("gram", "gan", "mmd_gan")
DATASETS = ("cifar10",)


def _rate(value):
    return {"critic_learning_rate": value, "generator_learning_rate": value}


_POINTS = {
    "rate5e-5": _rate(5e-5),
    "rate1e-5": _rate(1e-5),
    "rate1e-4": _rate(1e-4),
    "rate5e-4": _rate(5e-4),
    "rate1e-3": _rate(1e-3),
    **{f"batch{size}": {"batch_size": size} for size in (32, 64, 128, 256, 512)},
    **{f"dim{k}": {"output_dim": k} for k in (16, 32, 64, 128, 256, 512, 1000, 2000)},
}
CHOICES = (tuple(_POINTS),)
_OWN = {
    "gram": {"bandwidths": (1.0, 2.0, 4.0, 8.0, 16.0)},
    "gan": {"output_dim": 1},
    "mmd_gan": {},
}


def get_config(argument=None):
    """Returns the fields of one point of one curve."""
    method, dataset, quick, point = parse_card_argument(argument, METHODS, DATASETS, *CHOICES)
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "gram_dcgan",
        "generator_width": 32,
        "critic_width": 32,
        "critic_batch_norm": True,
        "image_range": (-1.0, 1.0),
        "latent_dim": 128,
        "latent_distribution": "normal",
        "output_dim": 128,
        **_rate(5e-5),
        "steps": 100_000,
        "batch_size": 64,
        **_POINTS[point],
        **_OWN[method],
        "num_samples": 10_000,
        "sample_every_steps": 2000,
        "checkpoint_every_steps": 2000,
        "score_every_steps": 2000,
    }
    return fields | QUICK if quick else fields
