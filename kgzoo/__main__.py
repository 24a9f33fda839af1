"""`python -m kgzoo` is the console script `kgzoo`."""

from kgzoo import cli

__all__: list[str] = []

if __name__ == "__main__":
    cli.main()
