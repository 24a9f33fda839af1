"""Grids of trainings: arms and seeds, each an ordinary run folder; a table, box plots, one JSON.

A claim is a table: its arms, what they have in common at each budget, and what is looked at. `run`
trains what is not yet trained in `<folder>/<budget>/<arm>/seed<k>/`, one process at a time; typed
again it goes on where it stopped, and with more steps or seeds it trains further. Scores are of
the last checkpoint, never of the best. An arm with choices, say of a constant C, is trained with
each of them first, briefly and with a seed of its own; the best one then stands for the arm.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kgzoo import config, data
from kgzoo.errors import UserError, unknown_name
from kgzoo.reproductions import figure, grid_figure, grid_runs, grid_table, provenance
from kgzoo.reproductions.grid_runs import Run
from kgzoo.reproductions.grid_table import Score

__all__ = ["BUDGETS", "FID", "KID", "Arm", "Budget", "Claim", "run"]

BUDGETS = ("quick", "cpu", "paper")
FID = Score("fid", "FID")
KID = Score("kid", "KID")
# Not among the seeds of the table: what was chosen by it is not judged by it.
_CHOICE_SEED = 1000
_MOST_SEEDS = 1000
_MOST_STEPS_BETWEEN_CHECKPOINTS = 2000


class Arm(NamedTuple):
    """One row of the comparison.

    Attributes:
        method: row of the catalogue.
        title: beside its box.
        fields: of the config, over the budget's.
        card: run card with its argument, which budgets with `cards` start from.
        printed: what the paper prints of its scores, by their names.
        choices: fields of which the best are taken, by what they are called.
    """

    method: str
    title: str
    fields: Mapping[str, Any] = {}
    card: str = ""
    printed: Mapping[str, Any] = {}
    choices: Mapping[str, Mapping[str, Any]] = {}


class Budget(NamedTuple):
    """How much is spent.

    Attributes:
        dataset: of all arms.
        steps: generator updates of each training.
        fields: of the config, over the card's.
        seeds: trainings of each arm, unless the user asks for another number.
        cards: whether arms start from their run cards.
        arms: which of the claim's; empty: all.
        own: fields of single arms, over all others.
        choice_steps: of the trainings among which an arm chooses; 0: arms do not choose.
    """

    dataset: str
    steps: int
    fields: Mapping[str, Any] = {}
    seeds: int = 3
    cards: bool = False
    arms: tuple[str, ...] = ()
    own: Mapping[str, Mapping[str, Any]] = {}
    choice_steps: int = 0


class Claim(NamedTuple):
    """What is compared.

    Attributes:
        name: of the reproduction and its files.
        paper: with section, table or figure.
        arms: by their names, in the order of the table.
        budgets: by name.
        scores: that the table shows, the first being the one that decides.
        expects: pairs of arms of which the paper finds the first one better.
        curves: values of metrics.jsonl that are drawn over the steps.
        measure: gives further scores and curves of a run folder.
        conclude: gives further findings, of the summaries of all arms.
        rates: pairs of the critic's and the generator's rate that the paper tried, for `grid`.
        differs: from the paper, in words.
    """

    name: str
    paper: str
    arms: Mapping[str, Arm]
    budgets: Mapping[str, Budget]
    scores: Sequence[Score] = (FID, KID)
    expects: Sequence[tuple[str, str]] = ()
    curves: Sequence[str] = ("kid",)
    measure: Callable[[pathlib.Path], grid_table.Measured] | None = None
    conclude: Callable[[Mapping[str, Any]], list[dict[str, Any]]] | None = None
    rates: Sequence[tuple[float, float]] = ()
    differs: str = ""


class _Plan(NamedTuple):
    """A claim at a budget, with what the user said of it."""

    claim: Claim
    folder: pathlib.Path
    name: str
    spent: Budget
    arms: tuple[str, ...]
    data_dir: str

    def run(
        self, arm: str, seed: int, place: str = "", own: Mapping[str, Any] = {}, steps: int = 0
    ) -> Run:
        """Returns one training of an arm, its folder `place` below that of the budget."""
        of = self.claim.arms[arm]
        fields = dict(config.load_card(of.card)) if self.spent.cards and of.card else {}
        fields = {name: fields[name] for name in fields if name not in ("method", "dataset")}
        fields |= {**self.spent.fields, **of.fields, **self.spent.own.get(arm, {}), **own}
        steps = steps or self.spent.steps
        fields |= {**_cadence(steps), "steps": steps, "seed": seed}
        resolved = config.compose(of.method, self.spent.dataset, overrides=fields)
        base = config.compose(of.method, self.spent.dataset)
        flags = [f"--method={of.method}", f"--dataset={self.spent.dataset}"]
        flags += [
            f"--config.{name}={resolved[name]}" for name in resolved if resolved[name] != base[name]
        ]
        place = place or arm
        workdir = self.folder / self.name / place / f"seed{seed}"
        return Run(place, seed, workdir, dict(resolved), tuple(flags), self.data_dir)


def _cadence(steps: int) -> dict[str, int]:
    """Returns fields that a resume may change, so that more steps may be asked for later."""
    tenth = max(10, steps // 10)
    return {
        "log_every_steps": max(1, steps // 100),
        "sample_every_steps": tenth,
        "checkpoint_every_steps": min(tenth, _MOST_STEPS_BETWEEN_CHECKPOINTS),
        "score_every_steps": 2 * tenth,
        "keep_checkpoints": 2,
    }


def run(
    claim: Claim,
    folder: pathlib.Path,
    quick: bool = False,
    budget: str = "",
    seeds: int = 0,
    arms: str = "",
    steps: int = 0,
    data_dir: str = "",
    grid: bool = False,
) -> dict[str, Any]:
    """Trains what is not yet trained, and writes `<claim>.png` and `<claim>.json`.

    Args:
        claim: what is compared.
        folder: of the two files and of the run folders.
        quick: the same as `budget="quick"`, which is the default.
        budget: quick, cpu or paper.
        seeds: trainings of each arm, seeds 0, 1 and so on; 0: the budget's.
        arms: some of the claim's, by commas; empty: the budget's.
        steps: of each training; 0: the budget's.
        data_dir: of prepared TFDS data sets; empty: the TFDS default.
        grid: with every pair of learning rates that the paper tried, where it tried several.

    Returns:
        What the JSON file holds: settings, findings, machine, arms, runs.

    Raises:
        UserError: if an option is wrong, the data set is not on disk, matplotlib is not installed,
            or a run folder holds another training.
        grid_runs.Stopped: if a signal came; what it met has saved its state.
    """
    spent = _spent(claim, quick, budget, seeds, steps)
    plan = _plan(claim, pathlib.Path(folder), spent, budget or "quick", arms, data_dir)
    # Before the runs: nobody should wait for them to be told of a mistake.
    data.check(plan.spent.dataset, plan.data_dir or None)
    figure.new_figure(1, 1, 1.0, 1.0)
    candidates, variants = _candidates(plan), _variants(claim, grid)
    todo = list(_runs(plan, variants, {}))
    with grid_runs.locked(plan.folder):
        for one in (*todo, *(run for of in candidates.values() for run in of.values())):
            grid_runs.check(one)
        choice = {arm: _choose(claim, arm, of) for arm, of in candidates.items()}
        chosen = {arm: claim.arms[arm].choices[found["chosen"]] for arm, found in choice.items()}
        todo = list(_runs(plan, variants, chosen))
        for one in todo:
            grid_runs.check(one)
        records = grid_runs.train(todo)
    rows = [
        {"arm": _arm(one), **grid_table.measure(one, record, claim.curves, claim.measure)}
        for one, record in zip(todo, records, strict=True)
    ]
    summaries = {
        arm: _summary(plan, arm, [row for row in rows if row["arm"] == arm], choice.get(arm))
        for arm in plan.arms
    }
    scores = grid_table.present(claim.scores, rows)
    findings = grid_table.findings(summaries, scores, claim.expects)
    findings += claim.conclude(summaries) if claim.conclude else []
    result = {
        "settings": _settings(plan, rows, grid),
        "findings": findings,
        "machine": provenance.describe(),
        "wall_seconds": round(sum(one["seconds"] for one in (*rows, *choice.values())), 2),
        "arms": summaries,
        "runs": rows,
    }
    canvas = grid_figure.draw(_title(plan), summaries, rows, scores)
    return figure.write(plan.folder, claim.name, canvas, result)


def _plan(
    claim: Claim, folder: pathlib.Path, spent: Budget, name: str, arms: str, data_dir: str
) -> _Plan:
    wanted = [name for name in arms.split(",") if name]
    for one in wanted:
        if one not in claim.arms:
            raise unknown_name("arm", one, claim.arms)
    wanted = wanted or spent.arms or tuple(claim.arms)
    names = tuple(one for one in claim.arms if one in wanted)
    # A record of the child's command should say where things are.
    return _Plan(claim, folder.resolve(), name, spent, names, data_dir)


def _spent(claim: Claim, quick: bool, budget: str, seeds: int, steps: int) -> Budget:
    """Returns the budget with the numbers that are given, where 0 leaves the budget's."""
    if budget and budget not in claim.budgets:
        raise unknown_name("budget", budget, claim.budgets)
    if quick and budget not in ("", "quick"):
        raise UserError(f"quick contradicts budget={budget}; leave one of the two out.")
    for name, value, most in (("seeds", seeds, _MOST_SEEDS), ("steps", steps, 2**62)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise UserError(f"{name}={value!r} is out of range; give a number from 1 to {most}.")
    spent = claim.budgets[budget or "quick"]
    return spent._replace(steps=steps or spent.steps, seeds=seeds or spent.seeds)


def _candidates(plan: _Plan) -> dict[str, dict[str, Run]]:
    """Returns for each arm that chooses the trainings among which it does, by choice."""
    if not plan.spent.choice_steps:
        return {}
    steps = min(plan.spent.choice_steps, plan.spent.steps)
    return {
        arm: {
            label: plan.run(arm, _CHOICE_SEED, f"choice/{arm}/{label}", own, steps)
            for label, own in plan.claim.arms[arm].choices.items()
        }
        for arm in plan.arms
        if plan.claim.arms[arm].choices
    }


def _choose(claim: Claim, arm: str, candidates: Mapping[str, Run]) -> dict[str, Any]:
    """Trains the candidates; returns the score of each, and the best; the first when none ends."""
    records = grid_runs.train(list(candidates.values()))
    score, found = claim.scores[0], {}
    for (label, one), record in zip(candidates.items(), records, strict=True):
        row = grid_table.measure(one, record)
        found[label] = row["scores"].get(score.name)
    ended = {label: value for label, value in found.items() if value is not None}
    best = min(ended, key=lambda label: score.sign * ended[label], default=next(iter(found)))
    return {
        "chosen": best,
        "by": f"{'lowest' if score.sign > 0 else 'highest'} {score.title}",
        "steps": next(iter(candidates.values())).config["steps"],
        "seed": _CHOICE_SEED,
        "found": found,
        "seconds": sum(record["seconds"] for record in records),
    }


def _variants(claim: Claim, grid: bool) -> dict[str, dict[str, Any]]:
    """Returns what is varied within every arm, by the name of its folder."""
    if not grid or not claim.rates:
        return {"": {}}
    return {
        f"critic{critic:g}_generator{generator:g}": {
            "critic_learning_rate": critic,
            "generator_learning_rate": generator,
        }
        for critic, generator in claim.rates
    }


def _runs(
    plan: _Plan,
    variants: Mapping[str, Mapping[str, Any]],
    chosen: Mapping[str, Mapping[str, Any]],
) -> Iterator[Run]:
    """Gives all trainings, the first seed of every arm before the second of any."""
    for seed in range(plan.spent.seeds):
        for arm in plan.arms:
            for label, own in variants.items():
                place = f"{arm}/{label}" if label else arm
                yield plan.run(arm, seed, place, {**chosen.get(arm, {}), **own})


def _arm(one: Run) -> str:
    return one.name.split("/")[0]


def _summary(
    plan: _Plan, arm: str, rows: Sequence[Mapping[str, Any]], choice: Mapping[str, Any] | None
) -> dict[str, Any]:
    of = plan.claim.arms[arm]
    own = dict(plan.claim.arms[arm].choices[choice["chosen"]]) if choice else {}
    return {
        "title": of.title + (f", {choice['chosen']}" if choice else ""),
        "method": of.method,
        "fields": {**of.fields, **plan.spent.own.get(arm, {}), **own},
        "choice": choice,
        "printed": dict(of.printed),
        **grid_table.summary(rows),
    }


def _settings(plan: _Plan, rows: Sequence[Mapping[str, Any]], grid: bool) -> dict[str, Any]:
    spent, arms = plan.spent, [plan.claim.arms[arm] for arm in plan.arms]
    return {
        "paper": plan.claim.paper,
        "budget": provenance.budget(plan.name, _changed(plan, grid)),
        "quick": plan.name == "quick",
        "dataset": spent.dataset,
        "steps": spent.steps,
        "seeds": spent.seeds,
        "fields": dict(spent.fields),
        "run_cards": sorted({arm.card for arm in arms if arm.card}) if spent.cards else [],
        "rates_varied": bool(grid and plan.claim.rates),
        "scores_of": "the last checkpoint of each run; those that diverged have none",
        "extractor": sorted({row["extractor"] for row in rows if row["extractor"]}),
        "better": grid_table.RULE,
        "differs": plan.claim.differs,
    }


def _changed(plan: _Plan, grid: bool) -> bool:
    """Says whether options gave other steps, seeds, arms or rates than the budget has."""
    usual = plan.claim.budgets[plan.name]
    same_arms = set(plan.arms) == set(usual.arms or plan.claim.arms)
    return plan.spent != usual or not same_arms or bool(grid and plan.claim.rates)


def _title(plan: _Plan) -> str:
    spent = plan.spent
    return (
        f"{plan.claim.name}: {spent.dataset}, {spent.steps:,} steps, {spent.seeds} "
        f"seed{'s' * (spent.seeds > 1)} (budget {plan.name}), last checkpoints"
    )
