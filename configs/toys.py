"""Two-dimensional toys: methods that can be watched, and the one that needs few dimensions.

  python -m kgzoo.main --config=configs/toys.py:lipmmd,gaussian
  python -m kgzoo.main --config=configs/toys.py:mmd_rep,ring2d
  python -m kgzoo.main --config=configs/toys.py:lipmmd,ring2d,quick

Argument: a method of the list below, a data set (ring2d, mog, gaussian) and `quick` for a run of
seconds with narrow networks. Nothing has to be on disk. lipmmd solves a convex programme at every
update, which takes `pip install "kgzoo[lipmmd]"` and one device. Hours: not measured.

             printed        measured here
  lipmmd     not printed    not measured
  gcmmd      not printed    not measured
  sn_gcmmd   not printed    not measured
  smmd       not printed    not measured
  swgan      not printed    not measured
  mmd_opt    not printed    not measured
  mmd_rbf    not printed    not measured
  mmd_rep    not printed    not measured
  mmd_rep_b  not printed    not measured
  wgan_gp    not printed    not measured
  gan        not printed    not measured

Differs from the papers in: Arbel et al. (2018) define the Lipschitz MMD and never train with it.
The network is a perceptron with three hidden layers, the rates are five times those of images.
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = (
    *("lipmmd", "gcmmd", "sn_gcmmd", "smmd", "swgan", "mmd_opt"),
    *("mmd_rbf", "mmd_rep", "mmd_rep_b", "wgan_gp", "gan"),
)
DATASETS = ("ring2d", "mog", "gaussian")

# The work of a programme grows with the cube of the batch.
_LIPMMD = {"batch_size": 32, "steps": 1000, "sample_every_steps": 100}


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
    }
    if method == "lipmmd":
        fields |= _LIPMMD
    return fields | QUICK if quick else fields
