"""Runs one test file of this folder under pytest, as Bazel's targets do; exits with its code."""

import pathlib
import sys

if __name__ == "__main__":
    import pytest

    file = pathlib.Path(__file__).parent / sys.argv[1]
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", str(file), *sys.argv[2:]]))
