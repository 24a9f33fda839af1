"""kgzoo: the zoo of kernel-based deep generative models for TensorFlow and Keras."""

__all__ = ["__version__"]

__version__ = "0.1.0"
