"""Set before any test module imports NumPy or TensorFlow; programs that tests start inherit it.

TensorFlow's start-up log lines hide what a test says. The threads of OpenBLAS wait by spinning:
where there are as many test processes as cores, they make small systems slower, and that tenfold.
Thousands of small networks overflow oneDNN's cache of 1,024 compiled convolutions, which nothing
but tests does; one test process was seen to crash in a look-up there, so nothing is evicted.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "65536")
# Nothing of a test is kept for other processes.
os.environ.setdefault("KGZOO_CACHE", "")
