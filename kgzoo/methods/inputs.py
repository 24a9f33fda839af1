"""Fields that any method takes: what is done to a critic's inputs and labels."""

from dataclasses import dataclass, fields

import tensorflow as tf

from kgzoo.errors import UserError, unknown_name
from kgzoo.methods import augmentation
from kgzoo.methods.noise import Noise

__all__ = ["CriticInputs"]


@dataclass(frozen=True)
class CriticInputs:
    """Named in the repulsive MMD-GAN paper, section 4.1 (the first three), and by DiffAugment.

    Attributes:
        instance_noise: standard deviation of the Gaussian noise added to every example that the
            critic sees, real and generated, in units of the model's range (Sonderby et al., 2017).
        instance_noise_steps: steps over which it falls linearly to 0; 0: it stays.
        label_smoothing: epsilon; real examples count with this weight in the generated class too,
            and with 1 - epsilon in their own where losses have labels (Salimans et al., 2016).
        random_bandwidth: r; every update draws the kernel's bandwidth anew, times a factor that is
            log-uniform in [1 / (1 + r), 1 + r].
        augmentation: `none` or `diffaugment` (Zhao et al., 2020).
    """

    instance_noise: float = 0.0
    instance_noise_steps: int = 0
    label_smoothing: float = 0.0
    random_bandwidth: float = 0.0
    augmentation: str = "none"

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Returns the names of the fields."""
        return tuple(field.name for field in fields(cls))

    def check(self, kind: str, has_kernel: bool) -> None:
        """Raises a UserError when a field is out of range or does not fit the method."""
        if self.augmentation not in augmentation.AUGMENTATIONS:
            raise unknown_name("augmentation", self.augmentation, augmentation.AUGMENTATIONS)
        for name in ("instance_noise", "instance_noise_steps", "random_bandwidth"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise UserError(f"{name}={value} is out of range; give a number >= 0.")
        if not 0 <= self.label_smoothing < 1:
            raise UserError(
                f"label_smoothing={self.label_smoothing} is out of range; give 0 <= epsilon < 1."
            )
        if self.augmentation != "none" and kind != "image":
            raise UserError(
                f"augmentation={self.augmentation!r} is for images; set augmentation='none' for "
                "vector data."
            )
        if self.random_bandwidth and not has_kernel:
            raise UserError(
                f"random_bandwidth={self.random_bandwidth} needs a method with a kernel; "
                "set random_bandwidth=0."
            )

    def apply(
        self, examples: tf.Tensor, noise: Noise, slot: str, image_range: tuple[float, float]
    ) -> tf.Tensor:
        """Returns the examples as the critic sees them; `slot` is `real` or `fake`."""
        if self.augmentation == "diffaugment":
            examples = augmentation.diffaugment(examples, noise, slot, image_range)
        if self.instance_noise:
            pair = noise.normal("instance_noise", [tf.shape(examples)[0], 2, *examples.shape[1:]])
            stddev = tf.constant(self.instance_noise, examples.dtype)
            if self.instance_noise_steps:
                done = tf.cast(noise.step, examples.dtype) / self.instance_noise_steps
                stddev *= tf.maximum(1.0 - done, 0.0)
            examples += stddev * pair[:, ("real", "fake").index(slot)]
        return examples

    def bandwidth(self, noise: Noise) -> tf.Tensor | float:
        """Returns the update's factor on the kernel's bandwidth, the same on all replicas."""
        if not self.random_bandwidth:
            return 1.0
        exponent = noise.shared_unit("bandwidth")
        return tf.pow(1.0 + self.random_bandwidth, 2.0 * exponent - 1.0)
