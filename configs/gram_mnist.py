"""GRAM paper, Figure 8: MNIST (Srivastava et al., 2020, appendix B.4).

  python -m kgzoo.main --config=configs/gram_mnist.py:gram --data_dir=...
  python -m kgzoo.main --config=configs/gram_mnist.py:gram,quick --data_dir=...

Argument: `quick` for a run of seconds with narrow networks; the method is gram, the data set mnist.
Printed: a generator 100-600-600-800-784 with a sigmoid, the critic of Table 3 with 100 outputs,
latents uniform on [-1, 1], Adam at 1e-3 with first decay 0.5, batch 200 of real and of generated
images, bandwidths 0.1, 1, 10 and 100; samples are shown until update 5,000. No score is printed.
Hardware and hours: not printed, not measured here.

        printed        measured here
  gram  not printed    not measured

Differs from the paper in: samples and scores are of the averaged generator, on features that are
not Inception's; the generator minimises the square root of MMD^2, as in the public code
(--config.objective=mmd2: eq. 10). Not printed: the ridge (1e-3), and Adam's second decay (0.999).
"""

from kgzoo.config import QUICK, parse_card_argument

METHODS = ("gram",)
DATASETS = ("mnist",)


def get_config(argument=None):
    """Returns the fields of the figure's run."""
    method, dataset, quick = parse_card_argument(argument, METHODS, DATASETS)
    fields = {
        "method": method,
        "dataset": dataset,
        "network": "gram_mnist",
        "generator_width": 600,
        "critic_width": 16,
        "critic_batch_norm": True,
        "image_range": (0.0, 1.0),
        "latent_dim": 100,
        "latent_distribution": "uniform",
        "output_dim": 100,
        "bandwidths": (0.1, 1.0, 10.0, 100.0),
        "critic_learning_rate": 1e-3,
        "generator_learning_rate": 1e-3,
        # The data set's own factor is for its narrower networks.
        "learning_rate_multiplier": 1.0,
        "adam_beta1": 0.5,
        "steps": 5000,
        "batch_size": 200,
        "num_samples": 10_000,
        "sample_every_steps": 250,
        "checkpoint_every_steps": 500,
        "score_every_steps": 500,
    }
    return fields | QUICK if quick else fields
