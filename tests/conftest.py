"""Set before any test module imports TensorFlow: its start-up log lines hide what a test says."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Nothing of a test is kept for other processes.
os.environ.setdefault("KGZOO_CACHE", "")
