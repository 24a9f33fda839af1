"""Set before any test module imports NumPy or TensorFlow; programs that tests start inherit it.

TensorFlow's start-up log lines hide what a test says. The threads of OpenBLAS wait by spinning:
where there are as many test processes as cores, they make small systems slower, and that tenfold.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Nothing of a test is kept for other processes.
os.environ.setdefault("KGZOO_CACHE", "")
