"""Evaluation: features of samples, scores on features, score cards and pictures.

Grammar: n, m examples; d features; images [n, height, width, channels], uint8 or float in [0, 1];
vector data [n, d]. Modules: `features` (extractors by name), `classifiers` (the project's own,
whose features and logits an extractor uses), `random_conv` (fixed random features), `scores`
(numbers from features), `modes` (numbers from points of a mixture), `score_card` (what goes into
scores.json), `pictures` (grids, scatter plots, histograms), `tfgan` (the one place that knows how
TF-GAN is imported), `files` (whole or absent).
"""

__all__ = [
    "classifiers",
    "features",
    "files",
    "modes",
    "pictures",
    "random_conv",
    "score_card",
    "scores",
    "tfgan",
]
