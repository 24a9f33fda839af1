"""Frequencies that depend on the points: eq. (5) and (22) of the KernelNet paper, and `dk_pd`.

omega = mu + eps * sigma, coordinate by coordinate. Two networks give mu and log sigma; with eps
integrated out the kernel is closed in mu and sigma, and no frequency is ever drawn. In `[d, n, m]`
arrays coordinates come first, so that halves of them are contiguous.
"""

from typing import NamedTuple

import tensorflow as tf

from kgzoo.kernels.chunks import by_groups
from kgzoo.kernels.sinc import product, sinc
from kgzoo.kernels.spectral_networks import Network, apply, apply_with_tangents

__all__ = ["DEPENDENCES", "Concatenated", "Dependence", "OwnFrequency", "Summed"]

_TINY = 1e-8
# Of the log of a frequency's spread: beyond, its square overflows, and sinc(inf 0) is no number.
# A kernel that narrow is 1 on coinciding points and 0 elsewhere.
_LARGEST_LOG_SCALE = 20.0


class _Spread(NamedTuple):
    """|A + diag(eps) B|^2 = constant + 2 eps . linear + eps^2 . square, for p pairs of points."""

    constant: tf.Tensor  # [p]
    linear: tf.Tensor  # [d, p]
    square: tf.Tensor  # [d, p]

    def mean_norm(self, noise: tf.Tensor) -> tf.Tensor:
        """Mean of the root over the pairs and over eps `[samples, d]`: matmuls, no Jacobians."""
        rows = tf.concat([2.0 * noise, tf.square(noise)], axis=1)
        squared = tf.matmul(rows, tf.concat([self.linear, self.square], axis=0)) + self.constant
        return tf.reduce_mean(tf.sqrt(tf.nn.relu(squared) + _TINY))

    def mean_square(self, variance: float) -> tf.Tensor:
        """Mean of the square over the pairs and all eps of that variance."""
        return tf.reduce_mean(self.constant + variance * tf.reduce_sum(self.square, axis=0))


class Dependence:
    """A kernel E cos(.) of frequencies omega = mu + eps * sigma that depend on the points.

    Args:
        mean: weights of t1, the network of mu.
        log_scale: weights of t2, the network of log sigma.
    """

    input_factor = 1  # the networks see so many points at once
    terms = 2  # log sigma is the sum of so many outputs of t2
    noise_variance = 1.0 / 3.0  # of eps, uniform on [-1, 1]

    def __init__(self, mean: Network, log_scale: Network):
        self.mean, self.log_scale = mean, log_scale

    @staticmethod
    def noise(shape: list[int], seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Draws eps."""
        return tf.cast(tf.random.stateless_uniform(shape, seed, -1.0, 1.0), dtype)

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """The expectation over eps in closed form, `[n, m]`."""
        raise TypeError(f"{type(self).__name__} must define `matrix`.")

    def matrices(self, groups: tf.Tensor) -> tf.Tensor:
        """The same of groups of points `[b, n, d]`, of each with itself: `[b, n, n]`."""
        return by_groups(self.matrix, groups)

    def sampled(self, x: tf.Tensor, y: tf.Tensor, noise: tf.Tensor, phases: tf.Tensor) -> tf.Tensor:
        """Mean of 2 cos(omega . x + b) cos(omega . y + b) over eps and phases b, `[n, m]`."""
        raise TypeError(f"{type(self).__name__} must define `sampled`.")

    def conditions(self, x: tf.Tensor, y: tf.Tensor, norm: str, noise: tf.Tensor) -> tf.Tensor:
        """What of Omega, eq. (9), belongs to omega_2: a scalar."""
        raise TypeError(f"{type(self).__name__} must define `conditions`.")

    def at_coincidence(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mu and sigma `[n, d]` of the pairs (z, z)."""
        raise TypeError(f"{type(self).__name__} must define `at_coincidence`.")

    def squared_norm(self, z: tf.Tensor) -> tf.Tensor:
        """E|omega|^2 = |mu|^2 + var(eps) |sigma|^2 at (z, z), `[n]`."""
        mean, scale = self.at_coincidence(z)
        return tf.reduce_sum(tf.square(mean) + self.noise_variance * tf.square(scale), axis=1)

    def second_moment(self, z: tf.Tensor) -> tf.Tensor:
        """E omega omega^T at (z, z), `[n, d, d]`."""
        mean, scale = self.at_coincidence(z)
        diagonal = tf.linalg.diag(self.noise_variance * tf.square(scale))
        return mean[:, :, None] * mean[:, None, :] + diagonal


def _outputs(network: Network, points: tf.Tensor) -> tf.Tensor:
    return apply(network, tf.matmul(points, tf.cast(network[0][0], points.dtype)))


def _outputs_and_jacobian(network: Network, points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the outputs `[n, out]` and their derivatives `[n, in, out]`."""
    first = tf.cast(network[0][0], points.dtype)
    return apply_with_tangents(network, tf.matmul(points, first), first)


def _scale(log_scale: tf.Tensor, terms: int = 1) -> tf.Tensor:
    """Returns the spreads whose logs are outputs of the second network, or sums of so many."""
    return tf.exp(tf.minimum(log_scale, terms * _LARGEST_LOG_SCALE))


def _coordinates_first(points: tf.Tensor) -> tf.Tensor:
    """`[..., n, d]` as `[d, ..., n]`."""
    rank = points.shape.rank
    return tf.transpose(points, [rank - 1, *range(rank - 1)])


def _squared_distances(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """|l_i - r_j|^2 of batches of rows `[..., n, k]`, `[..., m, k]`, as `[..., n, m]`."""
    squares = tf.reduce_sum(tf.square(left), -1)[..., :, None]
    squares += tf.reduce_sum(tf.square(right), -1)[..., None, :]
    return squares - 2.0 * tf.matmul(left, right, transpose_b=True)


class _OfPairs(Dependence):
    """A distribution of omega for every pair of points."""

    def pairs(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mu and sigma of all pairs, `[n, m, d]`."""
        raise TypeError(f"{type(self).__name__} must define `pairs`.")

    def sampled(self, x: tf.Tensor, y: tf.Tensor, noise: tf.Tensor, phases: tf.Tensor) -> tf.Tensor:
        """Eq. (6) to the letter: frequencies `[n, m, samples, d]`, one set for each pair."""
        mean, scale = self.pairs(x, y)
        omega = mean[:, :, None, :] + noise * scale[:, :, None, :]
        left = tf.einsum("nmsd,nd->nms", omega, x) + phases
        right = tf.einsum("nmsd,md->nms", omega, y) + phases
        return 2.0 * tf.reduce_mean(tf.cos(left) * tf.cos(right), axis=-1)


class Summed(_OfPairs):
    """Eq. (5): mu = t1(z1) + t1(z2), log sigma = t2(z1) + t2(z2), eps uniform.

    kappa_2 = cos(mu . t) prod_i sinc(sigma_i t_i) with t = z1 - z2. It is not positive definite,
    whatever Theorem 3 says: its proof leaves out the support of the uniform density.
    """

    def _of_both(self, x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
        """Returns t1(x), t1(y), exp t2(x), exp t2(y); each network is run once."""
        points = x if y is x else tf.concat([x, y], axis=0)
        mean, scale = _outputs(self.mean, points), _scale(_outputs(self.log_scale, points))
        if y is x:
            return [mean, mean, scale, scale]
        sizes = [tf.shape(x)[0], tf.shape(y)[0]]
        return [*tf.split(mean, sizes), *tf.split(scale, sizes)]

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return self._closed(x, y, *self._of_both(x, y))

    def matrices(self, groups: tf.Tensor) -> tf.Tensor:
        points = tf.reshape(groups, [-1, groups.shape[-1]])
        mean = tf.reshape(_outputs(self.mean, points), tf.shape(groups))
        scale = tf.reshape(_scale(_outputs(self.log_scale, points)), tf.shape(groups))
        return self._closed(groups, groups, mean, mean, scale, scale)

    @staticmethod
    def _closed(
        x: tf.Tensor,
        y: tf.Tensor,
        mean_x: tf.Tensor,
        mean_y: tf.Tensor,
        scale_x: tf.Tensor,
        scale_y: tf.Tensor,
    ) -> tf.Tensor:
        """kappa_2 of points `[..., n, d]` and `[..., m, d]` and what the networks make of each."""
        # mu . t by one matmul; t does not change when both points are shifted.
        centre = tf.stop_gradient(tf.reduce_mean(y, axis=-2, keepdims=True))
        x, y = x - centre, y - centre
        own_x, own_y = tf.reduce_sum(mean_x * x, axis=-1), tf.reduce_sum(mean_y * y, axis=-1)
        cross = tf.matmul(
            tf.concat([x, -mean_x], axis=-1), tf.concat([mean_y, y], axis=-1), transpose_b=True
        )
        phase = own_x[..., :, None] - own_y[..., None, :] + cross
        x, y, scale_x, scale_y = map(_coordinates_first, (x, y, scale_x, scale_y))
        scale = scale_x[..., :, None] * scale_y[..., None, :]
        return tf.cos(phase) * product(sinc(scale * (x[..., :, None] - y[..., None, :])))

    def pairs(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean_x, mean_y, scale_x, scale_y = self._of_both(x, y)
        mean = mean_x[:, None, :] + mean_y[None, :, :]
        return mean, scale_x[:, None, :] * scale_y[None, :, :]

    def at_coincidence(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return 2.0 * _outputs(self.mean, z), _scale(2.0 * _outputs(self.log_scale, z), 2)

    def conditions(self, x: tf.Tensor, y: tf.Tensor, norm: str, noise: tf.Tensor) -> tf.Tensor:
        (mean_x, mean_jx), (mean_y, mean_jy) = self._with_jacobian(self.mean, x, y)
        (log_x, scale_jx), (log_y, scale_jy) = self._with_jacobian(self.log_scale, x, y)
        scale_x, scale_y = _scale(log_x), _scale(log_y)
        # Means over all pairs of |mu|^2 and sigma^2 come apart into means over x and over y.
        squared = tf.reduce_mean(tf.reduce_sum(tf.square(mean_x), axis=1))
        squared += tf.reduce_mean(tf.reduce_sum(tf.square(mean_y), axis=1))
        squared += 2.0 * tf.reduce_sum(tf.reduce_mean(mean_x, 0) * tf.reduce_mean(mean_y, 0))
        variance = tf.reduce_mean(tf.square(scale_x), 0) * tf.reduce_mean(tf.square(scale_y), 0)
        squared += self.noise_variance * tf.reduce_sum(variance)
        scale = tf.transpose(scale_x)[:, :, None] * tf.transpose(scale_y)[:, None, :]
        spread = self._spread(mean_jx, mean_jy, scale_jx, scale_jy, scale)
        if norm == "squared":
            return squared + spread.mean_square(self.noise_variance)
        return squared + spread.mean_norm(noise)

    @staticmethod
    def _with_jacobian(
        network: Network, x: tf.Tensor, y: tf.Tensor
    ) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Returns outputs `[n, d]` and Jacobians `[d, n, in]`, outputs first, at x and at y."""
        found = []
        for points in (x,) if y is x else (x, y):
            outputs, jacobian = _outputs_and_jacobian(network, points)
            found.append((outputs, tf.transpose(jacobian, [2, 0, 1])))
        return found * 2 if y is x else found

    @staticmethod
    def _spread(
        mean_jx: tf.Tensor,
        mean_jy: tf.Tensor,
        scale_jx: tf.Tensor,
        scale_jy: tf.Tensor,
        scale: tf.Tensor,
    ) -> _Spread:
        """d omega/dz1 - d omega/dz2 = A + diag(eps) B of all pairs, by inner products of rows.

        A = Jt1(z1) - Jt1(z2) and B = diag(sigma) (Jt2(z1) - Jt2(z2)).
        """
        linear = tf.reduce_sum(mean_jx * scale_jx, -1)[..., :, None]
        linear += tf.reduce_sum(mean_jy * scale_jy, -1)[..., None, :]
        left, right = tf.concat([mean_jx, scale_jx], -1), tf.concat([scale_jy, mean_jy], -1)
        linear -= tf.matmul(left, right, transpose_b=True)
        square = _squared_distances(scale_jx, scale_jy)
        rows = tf.shape(scale)[0]
        return _Spread(
            tf.reshape(tf.reduce_sum(_squared_distances(mean_jx, mean_jy), axis=0), [-1]),
            tf.reshape(scale * linear, [rows, -1]),
            tf.reshape(tf.square(scale) * square, [rows, -1]),
        )


class Concatenated(_OfPairs):
    """Eq. (22), DK-II: mu = t1([z1, z2]) + t1([z2, z1]), log sigma likewise, eps Gaussian.

    kappa_2 = cos(mu . t) exp(-1/2 sum_i sigma_i^2 t_i^2). The paper claims no positive
    definiteness, and it has none. Every pair runs through the networks in both orders.
    """

    input_factor = 2
    noise_variance = 1.0

    @staticmethod
    def noise(shape: list[int], seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.cast(tf.random.stateless_normal(shape, seed), dtype)

    @staticmethod
    def _first(network: Network, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the first layer's products `[2, n, m, width]` of both orders, and its halves."""
        first, second = tf.split(tf.cast(network[0][0], x.dtype), 2, axis=0)
        order_xy = tf.matmul(x, first)[:, None, :] + tf.matmul(y, second)[None, :, :]
        order_yx = tf.matmul(x, second)[:, None, :] + tf.matmul(y, first)[None, :, :]
        return tf.stack([order_xy, order_yx]), first - second

    def pairs(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean = tf.reduce_sum(apply(self.mean, self._first(self.mean, x, y)[0]), axis=0)
        log_scale = apply(self.log_scale, self._first(self.log_scale, x, y)[0])
        return mean, _scale(tf.reduce_sum(log_scale, axis=0), 2)

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        mean, scale = self.pairs(x, y)
        difference = x[:, None, :] - y[None, :, :]
        phase = tf.reduce_sum(mean * difference, axis=-1)
        return tf.cos(phase) * tf.exp(-0.5 * tf.reduce_sum(tf.square(scale * difference), axis=-1))

    def at_coincidence(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pair = tf.concat([z, z], axis=1)
        return 2.0 * _outputs(self.mean, pair), _scale(2.0 * _outputs(self.log_scale, pair), 2)

    def conditions(self, x: tf.Tensor, y: tf.Tensor, norm: str, noise: tf.Tensor) -> tf.Tensor:
        # Along (e, -e) the derivative is that by z1 minus that by z2; with the order swapped, both
        # change places.
        (mean, mean_jacobian), (log_scale, scale_jacobian) = (
            apply_with_tangents(network, *self._first(network, x, y))
            for network in (self.mean, self.log_scale)
        )
        mean = tf.reduce_sum(mean, axis=0)
        scale = _scale(tf.reduce_sum(log_scale, axis=0), 2)
        a = mean_jacobian[0] - mean_jacobian[1]
        b = (scale_jacobian[0] - scale_jacobian[1]) * scale[..., None, :]
        d = tf.shape(x)[1]
        linear, square = (tf.reduce_sum(term, axis=-2) for term in (a * b, tf.square(b)))
        spread = _Spread(
            tf.reshape(tf.reduce_sum(tf.square(a), axis=[-2, -1]), [-1]),
            tf.transpose(tf.reshape(linear, [-1, d])),
            tf.transpose(tf.reshape(square, [-1, d])),
        )
        norms = tf.reduce_sum(tf.square(mean) + self.noise_variance * tf.square(scale), axis=-1)
        squared = tf.reduce_mean(norms)
        if norm == "squared":
            return squared + spread.mean_square(self.noise_variance)
        return squared + spread.mean_norm(noise)


class OwnFrequency(Dependence):
    """Each point has its own frequency: omega(z) = t1(z) + eps * exp(t2(z)), eps uniform.

    kappa_2 = E cos(omega(z1) . z1 - omega(z2) . z2) is an inner product of random features, so it
    is positive definite for any networks. Closed form: cos(a1 - a2) prod_i sinc(s1_i z1_i - s2_i
    z2_i) with a = t1(z) . z and s = exp(t2(z)).
    """

    terms = 1

    def _phases(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a `[n]` and s z `[n, d]`, so that omega(z) . z = a + eps . (s z)."""
        angle = tf.reduce_sum(_outputs(self.mean, z) * z, axis=1)
        return angle, _scale(_outputs(self.log_scale, z)) * z

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        of_x = self._phases(x)
        return self._closed(*of_x, *(of_x if y is x else self._phases(y)))

    def matrices(self, groups: tf.Tensor) -> tf.Tensor:
        angle, reach = self._phases(tf.reshape(groups, [-1, groups.shape[-1]]))
        angle = tf.reshape(angle, tf.shape(groups)[:-1])
        reach = tf.reshape(reach, tf.shape(groups))
        return self._closed(angle, reach, angle, reach)

    @staticmethod
    def _closed(
        angle_x: tf.Tensor, reach_x: tf.Tensor, angle_y: tf.Tensor, reach_y: tf.Tensor
    ) -> tf.Tensor:
        reach_x, reach_y = _coordinates_first(reach_x), _coordinates_first(reach_y)
        difference = reach_x[..., :, None] - reach_y[..., None, :]
        return tf.cos(angle_x[..., :, None] - angle_y[..., None, :]) * product(sinc(difference))

    def sampled(self, x: tf.Tensor, y: tf.Tensor, noise: tf.Tensor, phases: tf.Tensor) -> tf.Tensor:
        features = []
        for points in (x, y):
            angle, reach = self._phases(points)
            turns = angle[:, None] + tf.matmul(reach, noise, transpose_b=True)
            features.append(tf.cos(turns + phases))
        count = tf.cast(tf.shape(noise)[0], x.dtype)
        return 2.0 / count * tf.matmul(*features, transpose_b=True)

    def at_coincidence(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _outputs(self.mean, z), _scale(_outputs(self.log_scale, z))

    def _gradients(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The gradient of omega(z) . z by z is g0 + eps . G: returns g0 `[n, d]`, G `[n, d, d]`."""
        mean, mean_jacobian = _outputs_and_jacobian(self.mean, z)
        log_scale, scale_jacobian = _outputs_and_jacobian(self.log_scale, z)
        fixed = mean + tf.linalg.matvec(mean_jacobian, z)
        # Row k of G: s_k e_k + s_k z_k grad t2_k.
        rows = tf.linalg.matrix_transpose(scale_jacobian) * z[:, :, None]
        identity = tf.eye(tf.shape(z)[1], dtype=z.dtype)
        return fixed, _scale(log_scale)[:, :, None] * (identity + rows)

    def second_moment(self, z: tf.Tensor) -> tf.Tensor:
        """E g g^T of g = grad(omega(z) . z), `[n, d, d]`."""
        fixed, moving = self._gradients(z)
        noise = self.noise_variance * tf.matmul(moving, moving, transpose_a=True)
        return fixed[:, :, None] * fixed[:, None, :] + noise

    def conditions(self, x: tf.Tensor, y: tf.Tensor, norm: str, noise: tf.Tensor) -> tf.Tensor:
        """Mean over x and over y of E|grad(omega(z) . z)|^2, whatever the norm.

        |phi(z1) - phi(z2)|^2 = 2 E(1 - cos(A(z1) - A(z2))) <= E(A(z1) - A(z2))^2 for A = omega(z) .
        z: where the mean squared gradient of A is bounded, the feature map phi is Lipschitz, which
        is what Theorem 5 asks of the kernel. It takes the place of the two conditions on omega_2.
        """
        means = []
        for points in (x,) if y is x else (x, y):
            fixed, moving = self._gradients(points)
            moved = self.noise_variance * tf.reduce_sum(tf.square(moving), axis=[1, 2])
            means.append(tf.reduce_mean(tf.reduce_sum(tf.square(fixed), axis=1) + moved))
        return tf.add_n(means) / len(means)


DEPENDENCES: dict[str, type[Dependence]] = {
    "dk": Summed,
    "dk2": Concatenated,
    "dk_pd": OwnFrequency,
}
