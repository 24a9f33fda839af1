"""Trainable kernels: IKL and KernelNet, whose frequencies come out of small networks.

kappa = kappa_1 + kappa_2, eq. (6) of the KernelNet paper. kappa_1 is stationary: a network turns
noise into frequencies, and the kernel is an inner product of their cosines and sines: one matmul.
The frequencies of kappa_2 depend on the points; see `spectral_dependence`.

The layer holds the weights. One update draws once and asks the value it gets for everything:

    drawn = kernel.draw(seed)  # inside the tape that differentiates by the kernel's weights
    mmd.mmd2(drawn, real, fake), drawn.penalty(real, fake)
"""

from collections.abc import Callable
from math import log, tau

import keras
import tensorflow as tf

from kgzoo.errors import UserError, shown, unknown_name
from kgzoo.kernels.arguments import as_points, as_seed, refuse_beyond, whole
from kgzoo.kernels.base import Kernel
from kgzoo.kernels.chunks import by_rows
from kgzoo.kernels.spectral_dependence import DEPENDENCES, Dependence
from kgzoo.kernels.spectral_networks import (
    LAYERS,
    Network,
    apply,
    hidden_width,
    initializers,
    layer_sizes,
)

__all__ = ["DEPENDENCE_NAMES", "EXPECTATIONS", "PENALTY_NORMS", "Drawn", "KernelNet"]

DEPENDENCE_NAMES = ("none", *DEPENDENCES)
EXPECTATIONS = ("closed_form", "monte_carlo")
PENALTY_NORMS = ("frobenius", "squared")

# The unsquared norm of eq. (9) has no closed mean; so many draws of eps stand for it, the same for
# all pairs.
_PENALTY_DRAWS = 64
_SEED = (0, 0)
# One purpose, one stream of random numbers.
_FREQUENCIES, _NOISE, _PHASES, _PENALTY = range(4)


# Products of frequencies and points beyond this overflow float32.
_FURTHEST = 1e15
_MOST = 10_000_000


@keras.saving.register_keras_serializable("kgzoo")
class KernelNet(keras.layers.Layer, Kernel):
    """kappa_1 + kappa_2 with trainable frequencies; IKL (kappa_1 alone) without dependence.

    Weights are float32 whatever the policy. The paper does not say how they start. Here hidden
    layers start as Glorot's, biases at 0, last layers so that for features of order 1 a frequency
    has an expected square E|omega|^2 of about 1 in any dimension: two points of N(0, I) are
    |t|^2 = 2 d apart, and exp(-|t|^2 E|omega|^2 / 2d) = 1/e is neither constant nor 0, what
    unscaled networks give in 1 and in 16 dimensions. kappa_2 starts with sigma^2 E eps^2 = 1/d by
    the last bias, and with little dependence on the points, |mu|^2 about 0.1 and log sigma within
    about 0.15, which training is free to raise.

    Two kernels are equal when they are the same object: weights are no part of a configuration.

    Args:
        dependence: of kappa_2 on the points: `none` (no kappa_2: IKL, Li et al., 2019), `dk`
            (eq. 5), `dk2` (eq. 22) or `dk_pd` (each point its own frequency: positive definite).
        expectation: `closed_form`, or `monte_carlo`: the estimate of eq. (6), whose cost in memory
            is n m num_samples d numbers for `dk` and `dk2`.
        num_samples: frequencies of kappa_1, and of kappa_2 by Monte Carlo; 1024 in appendix F.
        width: units of a hidden layer; 0 for the paper's 16 (d = 1) to 64 (d = 16).
        chunk_rows: rows of a Monte Carlo matrix to compute at a time, and again for gradients; 0
            for all of them.
    """

    def __init__(
        self,
        dependence: str = "dk",
        expectation: str = "closed_form",
        num_samples: int = 1024,
        width: int = 0,
        chunk_rows: int = 0,
        **kwargs,
    ):
        if dependence not in DEPENDENCE_NAMES:
            raise unknown_name("dependence", dependence, DEPENDENCE_NAMES)
        if expectation not in EXPECTATIONS:
            raise unknown_name("kernel_expectation", expectation, EXPECTATIONS)
        # Values below float32 would follow a mixed policy; a kernel never does.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.dependence, self.expectation = dependence, expectation
        self.num_samples = whole("KernelNet", "num_samples", num_samples, 1, _MOST)
        self.width = whole("KernelNet", "width", width, 0, _MOST)
        self.chunk_rows = whole("KernelNet", "chunk_rows", chunk_rows, 0, _MOST)
        self.features = None

    def build(self, input_shape: tuple) -> None:
        """Makes the networks for points of shape `[None, d]`; does nothing the second time.

        Raises:
            UserError: if the shape is another, or was another before.
        """
        known = isinstance(input_shape, (tuple, list, tf.TensorShape)) and len(input_shape) == 2
        if not known or not isinstance(input_shape[1], int) or not 0 < input_shape[1] <= _MOST:
            raise UserError(
                f"KernelNet got input_shape={shown(input_shape)}; give (None, d) with the number "
                "of features d."
            )
        d = input_shape[1]
        if self.features not in (None, d):
            raise UserError(
                f"KernelNet got input_shape={input_shape} and was built for {self.features} "
                "features; use one KernelNet for each number of features."
            )
        if self.features == d:
            return
        self.features = d
        self._add_network("frequency", max(4, 2 * d), 1 / 3, 1 / d)
        if self.dependence != "none":
            kind = DEPENDENCES[self.dependence]
            inputs, bias = kind.input_factor * d, -0.5 * log(kind.noise_variance * d) / kind.terms
            self._add_network("mean", inputs, 1.0, 0.05 / d)
            self._add_network("log_scale", inputs, 1.0, 0.01, bias)

    def _add_network(
        self, name: str, inputs: int, input_square: float, output_square: float, bias: float = 0.0
    ) -> None:
        """Makes the weights of one network; see `initializers` for the two squares."""
        sizes = layer_sizes(inputs, hidden_width(self.features, self.width), self.features)
        matrices = initializers(sizes, input_square, output_square)
        for index, size in enumerate(sizes):
            start = keras.initializers.Constant(bias if index == len(sizes) - 1 else 0.0)
            for kind, shape, initializer in (
                ("kernel", size, matrices[index]),
                ("bias", size[1:], start),
            ):
                # Without autocast: a mixed policy outside would hand out half of the digits. As an
                # attribute each: checkpoints leave out what is only in lists.
                own = f"{name}_{kind}_{index}"
                weight = self.add_weight(shape, initializer, autocast=False, name=own)
                setattr(self, own, weight)

    @property
    def networks(self) -> dict[str, list[tuple[keras.Variable, keras.Variable]]]:
        """The networks by name, each a list of its layers' (matrix, bias)."""
        names = ("frequency",) if self.dependence == "none" else ("frequency", "mean", "log_scale")
        return {
            name: [
                tuple(getattr(self, f"{name}_{kind}_{index}") for kind in ("kernel", "bias"))
                for index in range(LAYERS)
            ]
            for name in names
        }

    def draw(self, seed: tf.Tensor | tuple[int, int]) -> "Drawn":
        """Returns the kernel of one update, all of whose matrices share their random numbers.

        Reads the weights: call it inside the tape that differentiates by them.

        Args:
            seed: int32 `[2]`; the same seed and weights give the same kernel.

        Raises:
            UserError: if the kernel has not been built.
        """
        if not self.built:
            raise UserError(
                f"KernelNet(dependence={self.dependence!r}) has no weights yet; call "
                "build((None, d)) with the number of features d."
            )
        networks = {
            name: [tuple(tf.convert_to_tensor(w.value) for w in layer) for layer in network]
            for name, network in self.networks.items()
        }
        return Drawn(self, networks, as_seed("KernelNet", seed))

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """The kernel matrix `[n, m]` of the draw with seed (0, 0)."""
        return self.draw(_SEED).matrix(x, y)

    def call(self, points: tf.Tensor) -> tf.Tensor:
        """The kernel matrix `[n, n]` of points `[n, d]`."""
        return self.matrix(points, points)

    def get_config(self) -> dict:
        names = ("dependence", "expectation", "num_samples", "width", "chunk_rows")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    # Keras keeps layers in sets and dictionaries.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        defaults = {
            "num_samples": 1024,
            "width": 0,
            "chunk_rows": 0,
            "expectation": EXPECTATIONS[0],
        }
        own = [f"{k}={getattr(self, k)!r}" for k, v in defaults.items() if getattr(self, k) != v]
        return f"KernelNet({', '.join([repr(self.dependence), *own])})"


class Drawn(Kernel):
    """A trainable kernel with its weights read and its frequencies drawn: a value of one update.

    Made by `KernelNet.draw`. Points `[n, d]` are float32, or float64 and then so is all that is
    computed from them.

    Attributes:
        diagonal: kappa(z, z): 2, or 1 without kappa_2 (in expectation, by Monte Carlo).
        frequencies: the samples of omega_1, `[num_samples, d]`, float32.
        dependence: kappa_2, or None.
    """

    def __init__(self, kernel: KernelNet, networks: dict[str, Network], seed: tf.Tensor):
        self._kernel, self._networks, self._seed = kernel, networks, seed
        self.frequencies = self._draw_frequencies(tf.float32)
        self.dependence: Dependence | None = None
        if kernel.dependence != "none":
            kind = DEPENDENCES[kernel.dependence]
            self.dependence = kind(networks["mean"], networks["log_scale"])
        self.diagonal = 1.0 if self.dependence is None else 2.0

    def _stream(self, purpose: int) -> tf.Tensor:
        return tf.random.fold_in(self._seed, purpose)

    def _draw_frequencies(self, dtype: tf.DType) -> tf.Tensor:
        """Eq. (4): omega_1 of all samples, `[num_samples, d]`, from noise uniform on [-1, 1]."""
        network = self._networks["frequency"]
        shape = [self._kernel.num_samples, network[0][0].shape[0]]
        noise = tf.random.stateless_uniform(shape, self._stream(_FREQUENCIES), -1.0, 1.0)
        noise = tf.cast(noise, dtype)
        return apply(network, tf.matmul(noise, tf.cast(network[0][0], dtype)))

    def _omega_in(self, dtype: tf.DType) -> tf.Tensor:
        return self.frequencies if dtype == tf.float32 else self._draw_frequencies(dtype)

    def _points(self, x: tf.Tensor, y: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        same = y is None or y is x
        x, y = as_points(x, x if same else y)
        if x.shape[1] != self._kernel.features:
            raise UserError(
                f"points have {x.shape[1]} features and the kernel was built for "
                f"{self._kernel.features}; build a KernelNet for {x.shape[1]}."
            )
        if self.dependence is not None:
            refuse_beyond("KernelNet", _FURTHEST, points=x, **({} if same else {"others": y}))
        # One object for one set of points: what depends on it is computed once.
        return x, x if same else y

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        x, y = self._points(x, y)
        if self._kernel.expectation == "monte_carlo":
            return self._sampled_matrix(x, y)
        # A stationary kernel does not see a shift, and cosines of large numbers lose digits.
        centre = tf.stop_gradient(tf.reduce_mean(y, axis=0, keepdims=True))
        points = x if y is x else tf.concat([x, y], axis=0)
        turns = tf.matmul(points - centre, self._omega_in(x.dtype), transpose_b=True)
        first = 0.0
        for waves in (tf.cos(turns), tf.sin(turns)):
            left, right = waves, waves
            if y is not x:
                left, right = tf.split(waves, [tf.shape(x)[0], tf.shape(y)[0]])
            first += tf.matmul(left, right, transpose_b=True)
        first /= self._kernel.num_samples
        return first if self.dependence is None else first + self.dependence.matrix(x, y)

    def matrices(self, groups: tf.Tensor) -> tf.Tensor:
        if self._kernel.expectation == "monte_carlo":
            return self._sampled_matrices(groups)
        centred = groups - tf.stop_gradient(tf.reduce_mean(groups, axis=1, keepdims=True))
        turns = tf.einsum("bnd,sd->bns", centred, self._omega_in(groups.dtype))
        waves = tf.concat([tf.cos(turns), tf.sin(turns)], axis=-1)
        first = tf.matmul(waves, waves, transpose_b=True) / self._kernel.num_samples
        return first if self.dependence is None else first + self.dependence.matrices(groups)

    def noise_and_phases(self, dtype: tf.DType) -> tuple[tf.Tensor | None, tf.Tensor]:
        """Returns eps `[num_samples, d]` of kappa_2 (None without) and b of the estimate."""
        samples, noise = self._kernel.num_samples, None
        if self.dependence is not None:
            shape = [samples, self._kernel.features]
            noise = self.dependence.noise(shape, self._stream(_NOISE), dtype)
        phases = tf.random.stateless_uniform([samples], self._stream(_PHASES), 0.0, tau)
        return noise, tf.cast(phases, dtype)

    def _sampled_matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Eq. (6) by the mean over num_samples pairs (omega, b), shared by all points."""
        noise, phases = self.noise_and_phases(x.dtype)
        left, right = (
            tf.cos(tf.matmul(points, self._omega_in(x.dtype), transpose_b=True) + phases)
            for points in (x, y)
        )
        first = 2.0 / self._kernel.num_samples * tf.matmul(left, right, transpose_b=True)
        dependence = self.dependence
        if dependence is None:
            return first
        if not self._kernel.chunk_rows:
            return first + dependence.sampled(x, y, noise, phases)
        sampled, weights = self._sampled_second()
        rest = (y, noise, phases, *weights)
        return first + by_rows(sampled, x, rest, self._kernel.chunk_rows)

    def _sampled_matrices(self, groups: tf.Tensor) -> tf.Tensor:
        """`_sampled_matrix` of each group; with `chunk_rows`, one group is held at a time."""
        noise, phases = self.noise_and_phases(groups.dtype)
        turns = tf.einsum("bnd,sd->bns", groups, self._omega_in(groups.dtype))
        waves = tf.cos(turns + phases)
        first = 2.0 / self._kernel.num_samples * tf.matmul(waves, waves, transpose_b=True)
        if self.dependence is None:
            return first
        sampled, weights = self._sampled_second()
        if self._kernel.chunk_rows:
            sampled = tf.recompute_grad(sampled)
        second = tf.map_fn(
            lambda group: sampled(group, group, noise, phases, *weights),
            groups,
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec([groups.shape[1]] * 2, groups.dtype),
        )
        return first + second

    def _sampled_second(self) -> tuple[Callable[..., tf.Tensor], list[tf.Tensor]]:
        """Returns kappa_2's estimate as a function of all that it depends on, and its weights."""
        dependence = self.dependence
        weights = (dependence.mean, dependence.log_scale)

        def sampled(x, y, noise, phases, *flat):
            kernel = type(dependence)(*tf.nest.pack_sequence_as(weights, flat))
            return kernel.sampled(x, y, noise, phases)

        return sampled, tf.nest.flatten(weights)

    def penalty(self, x: tf.Tensor, y: tf.Tensor, norm: str = "frobenius") -> tf.Tensor:
        """Omega of eq. (9): what the kernel must bound to be continuous in weak topology.

        E|omega_1|^2, plus means over the pairs (x_i, y_j) of E|omega_2|^2 (closed form) and of
        E||d omega_2/dz1 - d omega_2/dz2||_F. Without kappa_2 the first term alone. For `dk_pd`,
        whose frequencies belong to points and not to pairs, E|omega_1|^2 + the mean over x and over
        y of E|grad(omega_2(z) . z)|^2: the square of what makes its feature map Lipschitz.

        Args:
            x, y: points `[n, d]` and `[m, d]`.
            norm: `frobenius` (the paper's; the mean over eps by 64 draws, shared by all pairs) or
                `squared` (closed form).
        """
        if norm not in PENALTY_NORMS:
            raise unknown_name("kernel_penalty_norm", norm, PENALTY_NORMS)
        x, y = self._points(x, y)
        first = self._first_square(x.dtype)
        if self.dependence is None:
            return first
        shape = [_PENALTY_DRAWS, self._kernel.features]
        noise = self.dependence.noise(shape, self._stream(_PENALTY), x.dtype)
        return first + self.dependence.conditions(x, y, norm, noise)

    def _first_square(self, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_mean(tf.reduce_sum(tf.square(self._omega_in(dtype)), axis=1))

    def squared_norms(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns E|omega_1|^2, a scalar, and E|omega_2|^2 at the pairs (z, z), `[n]`.

        Omega_2 of `dk_pd` is omega(z); without kappa_2 the second is 0.
        """
        z, _ = self._points(z)
        first = self._first_square(z.dtype)
        if self.dependence is None:
            return first, tf.zeros_like(z[:, 0])
        return first, self.dependence.squared_norm(z)

    def second_moment(self, z: tf.Tensor) -> tf.Tensor:
        """M(z) `[n, d, d]` with sum_i d2 kappa(h(y), h(z)) / dy_i dz_i = tr(J J^T M) at y = z.

        J is the Jacobian of h. M = E omega_1 omega_1^T + E omega_2 omega_2^T at (z, z), exactly:
        the distribution of omega_2 moves with the points, but that enters to third order. For
        `dk_pd` the second term is E g g^T, g = grad(omega_2(z) . z). By Monte Carlo it is that of
        the expectation over eps and b.
        """
        z, _ = self._points(z)
        omega = self._omega_in(z.dtype)
        first = tf.matmul(omega, omega, transpose_a=True) / self._kernel.num_samples
        if self.dependence is None:
            return tf.repeat(first[None], tf.shape(z)[0], axis=0)
        return first + self.dependence.second_moment(z)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Drawn({self._kernel!r})"
