"""Discrepancies: pure functions of features, kernels and scores that return a scalar.

Features are `[n, d]`, scores `[n]`; everything inside is float32 (float64 stays float64), whatever
the policy outside.
"""
