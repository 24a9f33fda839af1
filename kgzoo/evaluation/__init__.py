"""Evaluation: features of samples, scores on features, score cards and pictures.

Grammar: n, m examples; d features; images [n, height, width, channels], uint8 or float in [0, 1];
vector data [n, d]. Modules: `features` (extractors by name), `classifiers` (the project's own,
whose features and logits an extractor uses), `inception` (a file of the user's), `random_conv`
(fixed random features), `feature_cache` (real features, kept between processes), `scores`
(numbers from features), `neighbours`, `two_sample` (of features), `similarity`, `lenet_scores` (of
pixels), `modes` (of points of a mixture), `ais` (log-likelihoods of decoders), `score_card` (what
goes into scores.json), `pictures` (grids, scatter plots, histograms), `galleries` (pictures of a
trained model, by `carpets`, `embeddings` and `curves`), `tfgan` (the one place that knows how
TF-GAN is imported), `files` (whole or absent), `json_lines` (records of runs).
"""

__all__ = [
    "ais",
    "carpets",
    "classifiers",
    "curves",
    "embeddings",
    "feature_cache",
    "features",
    "files",
    "galleries",
    "inception",
    "json_lines",
    "lenet_scores",
    "modes",
    "neighbours",
    "pictures",
    "random_conv",
    "score_card",
    "scores",
    "similarity",
    "tfgan",
    "two_sample",
]
