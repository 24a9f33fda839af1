"""What a variational autoencoder's objective says of its codes: fields, ranges and weights."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from kgzoo import kernels
from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels import bandwidths

__all__ = ["LatentObjective"]

_OBJECTIVES = ("gaussian_kl", "stein", "spectral", "semi_implicit", "svgd")
_WITH_VARIANCES = ("gaussian_kl", "semi_implicit")
_DIVERGENCES = ("kl", "mmd")


@dataclass(frozen=True)
class LatentObjective:
    """Fields of eq. (14) and eq. (1) of the KernelNet paper, and of the estimates in them.

    Attributes:
        objective: what is known of q(z|x): `gaussian_kl`, `stein`, `spectral`, `semi_implicit` or
            `svgd`.
        encoder_dropout: share of the inputs of each of the encoder's layers that is dropped; no
            effect on `gaussian_kl`.
        latent_samples: codes drawn for each example in an update.
        aggregate_samples: of these, how many stand for q(z).
        aggregate_weight: lambda.
        aggregate_divergence: of q(z) from p(z): `kl`, its gradient by a Stein estimate of the score
            of q(z), or `mmd`, the unbiased squared MMD (Zhao et al., 2019).
        information_weight: alpha.
        information: what alpha weighs: `mmd` (eq. 14) or `kl` (eq. 1).
        bandwidth_rule: of the MMDs' kernel: `fixed`, or `median`: codes are divided by the median
            distance between samples of q(z).
        ridge: of the Stein estimate, on a diagonal of ones.
        score_bandwidth: of the score estimates' kernel, times the median distance of the samples.
        score_eigenfunctions: of the spectral estimate.
    """

    objective: str = "gaussian_kl"
    encoder_dropout: float = 0.3
    latent_samples: int = 1
    aggregate_samples: int = 1
    aggregate_weight: float = 1.0
    aggregate_divergence: str = "kl"
    information_weight: float = 0.0
    information: str = "mmd"
    bandwidth_rule: str = "fixed"
    ridge: float = 0.1
    score_bandwidth: float = 1.0
    score_eigenfunctions: int = 6

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Returns the names of the fields."""
        return tuple(field.name for field in fields(cls))

    @property
    def has_variances(self) -> bool:
        """Whether the encoder gives Gaussians, by means and log-variances, and not codes."""
        return self.objective in _WITH_VARIANCES

    @property
    def is_implicit(self) -> bool:
        """Whether the encoder has noise of its own."""
        return self.objective != "gaussian_kl"

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of E KL[q(z|x) || p(z)], of the divergence of q(z), and of -E MMD."""
        by_kl = self.information_weight if self.information == "kl" else 0.0
        return 1.0 - by_kl, self.aggregate_weight + (by_kl - 1.0), self.information_weight - by_kl

    @property
    def _stein_of_aggregate(self) -> bool:
        return bool(self.weights[1]) and self.aggregate_divergence == "kl"

    def check(self, trains_kernel: bool) -> None:
        """Raises a UserError when a field is out of range or two do not fit each other."""
        for field, known in (
            ("objective", _OBJECTIVES),
            ("aggregate_divergence", _DIVERGENCES),
            ("information", _DIVERGENCES),
            ("bandwidth_rule", bandwidths.RULES),
        ):
            if getattr(self, field) not in known:
                raise unknown_name(field, getattr(self, field), known)
        samples = 2 if self.is_implicit or self.weights[2] else 1
        for field, least in (
            *(("latent_samples", samples), ("aggregate_samples", 1), ("score_eigenfunctions", 1)),
            *(("aggregate_weight", 0), ("information_weight", 0), ("ridge", 0)),
        ):
            if not least <= getattr(self, field) < float("inf"):
                raise UserError(
                    f"{field}={getattr(self, field)} is out of range with objective="
                    f"{self.objective!r}; give a number >= {least}."
                )
        if not 0 < self.score_bandwidth < float("inf"):
            raise UserError(
                f"score_bandwidth={self.score_bandwidth} is out of range; give a number above 0."
            )
        if not 0 <= self.encoder_dropout < 1 or (self.is_implicit and not self.encoder_dropout):
            raise UserError(
                f"encoder_dropout={self.encoder_dropout} leaves an encoder without noise or "
                "without inputs; give a share above 0 and below 1."
            )
        for field in ("aggregate_samples", "score_eigenfunctions"):
            concerned = field == "aggregate_samples" or self.objective == "spectral"
            if concerned and getattr(self, field) > self.latent_samples:
                raise UserError(
                    f"{field}={getattr(self, field)} exceeds latent_samples="
                    f"{self.latent_samples}; give at most that."
                )
        if not self.ridge and (self.objective == "stein" or self._stein_of_aggregate):
            raise UserError(
                f"ridge={self.ridge} leaves Stein's estimate without a solution; give a number "
                "above 0, such as 0.1."
            )
        if trains_kernel and self.weights[1] and self.aggregate_divergence == "mmd":
            raise UserError(
                f"aggregate_divergence={self.aggregate_divergence!r}: a trained kernel would lower "
                "that MMD while it raises the information's; set aggregate_divergence=kl."
            )
        if trains_kernel and not self.weights[2]:
            raise UserError(
                "kernel: a trained one maximises E MMD[q(z|x), q(z)], which is not in the "
                "objective; set information=mmd and information_weight above 0, or "
                "kernel=gaussian."
            )
        if self.objective == "svgd" and self.weights != (1.0, 0.0, 0.0):
            raise UserError(
                f"information_weight={self.information_weight} and aggregate_weight="
                f"{self.aggregate_weight} are not for objective='svgd'; set 0 and 1."
            )

    @classmethod
    def unused_fields(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns what of these fields, and of a kernel's, has no effect with this config."""
        own = cls(**{field: config[field] for field in cls.names()})
        _, of_aggregate, of_mmd = own.weights
        stein_of_aggregate = own._stein_of_aggregate
        uses = {
            "encoder_dropout": config["objective"] != "gaussian_kl",
            "score_eigenfunctions": config["objective"] == "spectral",
            "ridge": config["objective"] == "stein" or stein_of_aggregate,
            "score_bandwidth": config["objective"] not in _WITH_VARIANCES or stein_of_aggregate,
            "aggregate_samples": of_aggregate or of_mmd,
            "aggregate_divergence": of_aggregate,
            "information": config["information_weight"],
            "bandwidth_rule": of_mmd or (of_aggregate and not stein_of_aggregate),
        }
        uses["kernel"] = uses["bandwidth_rule"]
        trained = isinstance(kernels.get(config["kernel"]), kernels.KernelNet)
        uses["kernel_learning_rate_ratio"] = trained
        return tuple(field for field, used in uses.items() if not used)
