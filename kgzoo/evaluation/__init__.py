"""Evaluation: features of samples, scores on features, score cards and pictures.

Grammar: n, m examples; d features; images [n, height, width, channels], uint8 or float in [0, 1];
vector data [n, d]. Modules: `features` (extractors by name), `classifiers` (the project's own
classifiers, whose features and logits some extractors use), `scores` (numbers from features),
`score_card` (what goes into scores.json), `pictures` (grids and scatter plots), `tfgan` (the one
place that knows how TF-GAN is imported), `files` (files that are whole or absent).
"""

__all__ = ["classifiers", "features", "files", "pictures", "score_card", "scores", "tfgan"]
