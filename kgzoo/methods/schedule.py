"""The order of updates: many critic updates before some steps, or one for both players."""

from dataclasses import dataclass, fields

from kgzoo.errors import UserError

__all__ = ["UpdateSchedule"]


@dataclass(frozen=True)
class UpdateSchedule:
    """More critic updates before the first steps, and before every so-many-th one later.

    Or, in place of critic and generator in turn, one update of both from one forward pass.

    The public code of Li et al. (2017) trains the critic 100 times before each of the first 25
    generator updates and before every 500th, beginning with the first; that of Wang et al. (2019)
    updates both players jointly.

    Attributes:
        early_critic_steps: critic updates of such a step, the usual ones included; 0: no schedule.
        early_steps: how many first steps have them.
        early_every_steps: later steps that have them are the multiples of this; 0: none.
        joint_update: whether critic and generator learn from one forward pass, as they were before
            it, with one batch and one draw of latents.
    """

    early_critic_steps: int = 0
    early_steps: int = 25
    early_every_steps: int = 500
    joint_update: bool = False

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Returns the names of the fields."""
        return tuple(field.name for field in fields(cls))

    def check(self, critic_steps: int) -> None:
        """Raises a UserError when a field is out of range, or has no effect."""
        for name in ("early_critic_steps", "early_steps", "early_every_steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UserError(f"{name}={value!r} is out of range; give a whole number >= 0.")
        if not isinstance(self.joint_update, bool):
            raise UserError(f"joint_update={self.joint_update!r} is no truth; give True or False.")
        if self.joint_update and critic_steps > 1:
            raise UserError(
                f"joint_update=True has one critic update a step, not critic_steps={critic_steps}; "
                "set critic_steps=1."
            )
        if 0 < self.early_critic_steps <= critic_steps:
            raise UserError(
                f"early_critic_steps={self.early_critic_steps} is not above the usual "
                f"critic_steps={critic_steps}; give a larger number, or 0 for no early schedule."
            )

    def extra(self, step: int, critic_steps: int) -> int:
        """Returns the critic updates before step `step` (from 0) beyond the `critic_steps`."""
        early = step < self.early_steps
        due = self.early_every_steps and step % self.early_every_steps == 0
        return max(0, self.early_critic_steps - critic_steps) if early or due else 0

    def extra_before(self, step: int, critic_steps: int) -> int:
        """Returns the sum of `extra` over the steps before `step`."""
        count = min(step, self.early_steps)
        if self.early_every_steps:

            def multiples_below(end: int) -> int:
                return -(-end // self.early_every_steps)

            count += multiples_below(step) - multiples_below(min(step, self.early_steps))
        return count * max(0, self.early_critic_steps - critic_steps)
