"""The paths between latents of `kgzoo.methods.latent_paths`, which the signatures offer by name."""

from kgzoo.methods.latent_paths import PATHS, linear, path_name, path_of, spherical

__all__ = ["PATHS", "linear", "path_name", "path_of", "spherical"]
