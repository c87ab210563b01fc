"""Validation: rerank and measure a dev set, keep the best weights, and vote to stop."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rankcli.config.metrics import checked_names
from rankcli.config.registry import LISTENERS, option
from rankcli.config.types import NonNegativeFloat, NonNegativeInt, PositiveInt
from rankcli.data.trec import write_run
from rankcli.evaluation.interpolate import Scores
from rankcli.evaluation.runs import rerank
from rankcli.evaluation.trec import PerQuery, evaluate
from rankcli.listeners.base import DEV, ListenerContext, Measured, Measuring, Moment, Training, Vote
from rankcli.listeners.patience import Patience
from rankcli.log import say
from rankcli.storage.atomic import write_file
from rankcli.storage.noted import Noted, noted

DEV_RUN = "dev.run"


@LISTENERS.register("validation")
@dataclass(frozen=True, kw_only=True)
class Validating:
    """Reranks and measures a dev set, and keeps the best weights by each metric of `keep`.

    It does so every `interval` iterations and after the last. With `patience` it votes: to stop once the first of
    `metrics` has not risen by more than `min_delta` in `patience` validations in a row, and not to stop before.
    """

    version: ClassVar[int] = 1
    set: str = option(DEV, "the dev set: `dev`, or one of `data.devsets`")
    metrics: tuple[str, ...] | None = option(None, "what is measured; default: `metrics` of the run")
    keep: tuple[str, ...] | None = option(
        None, "metrics of which the best weights are kept; default: all on `dev`, else none"
    )
    interval: PositiveInt | None = option(None, "iterations between validations; default `validatefreq`")
    warmup: NonNegativeInt = option(0, "iterations before the first validation")
    patience: PositiveInt | None = option(
        None, "validations in a row without a better value of the first metric, to vote for a stop; default: no vote"
    )
    min_delta: NonNegativeFloat = option(0.0, "what a better value must be better by, to be patient anew")
    perquery: bool = option(False, "save the value of every query, in `perquery/`", identity=False)

    def __post_init__(self) -> None:
        for name in ("metrics", "keep"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked_names(getattr(self, name)))
        if self.metrics == ():
            raise ValueError("metrics: name at least one")
        for metric in self.keep or ():
            if self.metrics is not None and metric not in self.metrics:
                raise ValueError(f"keep: {metric} is not measured; metrics are {', '.join(self.metrics)}")
        if self.min_delta and self.patience is None:
            raise ValueError("min_delta does nothing without patience")

    def build(self, ctx: ListenerContext) -> Measuring:
        """Build the listener."""
        return Validator(self, ctx)


class Validator(Measuring):
    """A validation of one dev set. Options that were None have been set to their defaults."""

    def __init__(self, options: Validating, ctx: ListenerContext) -> None:
        assert options.metrics is not None and options.keep is not None and options.interval is not None
        self.options, self.ctx, self.dev = options, ctx, ctx.dev[options.set]
        self.metrics, self.keep, self.interval = options.metrics, options.keep, options.interval
        self.first_stage = _means(
            evaluate(self.dev.qrels, self.dev.first_stage, self.metrics, self.dev.relevance_level)
        )
        self.best: dict[str, dict[str, Any]] = {}
        self.written: Noted = {}  # of the run of the best weights
        self.patience = Patience("above", options.patience, options.min_delta)

    def after_initialisation(self, training: Training) -> None:
        """Keep the training, to score and save with."""
        self.training = training

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the best weights so far and the patience."""
        self.best = {metric: {**kept, "value": float(kept["value"])} for metric, kept in state["best"].items()}
        self.written = state.get("written", {})
        self.patience.restore(state)

    def state(self) -> dict[str, Any]:
        """Return the best weights so far and the patience."""
        written = {"written": self.written} if self.written else {}
        return {"best": self.best, **written, **self.patience.state()}

    def due(self, iteration: int) -> bool:
        """True every `interval` iterations after warm-up, and after the last."""
        last = iteration == self.ctx.iterations
        return iteration >= self.options.warmup and (iteration % self.interval == 0 or last)

    def validate(self, now: Moment) -> Measured:
        """Rerank and measure. Keep the weights that are best by any metric."""
        name = self.options.set
        scores = self.training.scores(name)
        run = rerank(self.dev.first_stage, scores)
        values = evaluate(self.dev.qrels, run, self.metrics, self.dev.relevance_level)
        means = _means(values)
        self._keep_best(now.iteration, means, run)
        self.patience.see(means[self.metrics[0]])
        if self.options.perquery:
            self._write(now.iteration, values)
        say(f"iteration {now.iteration}: {name} " + ", ".join(f"{metric} {mean:.4f}" for metric, mean in means.items()))
        return Measured(DEV, name, means, self.first_stage, scores)

    def _keep_best(self, iteration: int, means: Mapping[str, float], run: Scores) -> None:
        for metric in self.keep:
            if metric not in self.best or means[metric] > self.best[metric]["value"]:
                path = Path("best") / (metric if self.options.set == DEV else f"{self.options.set}.{metric}")
                self.training.keep(path)
                self.best[metric] = {"iter": iteration, "value": means[metric], "path": str(path)}
                if self.options.set == DEV and metric == self.dev.metrics.optimize:
                    self.write_run(run)

    def write_run(self, run: Scores) -> None:
        """Write the run of the best weights, and note its checksum."""
        write_run(self.ctx.out / DEV_RUN, run)
        self.written = noted(self.ctx.out, [DEV_RUN])

    def _write(self, iteration: int, values: PerQuery) -> None:
        path = self.ctx.out / "perquery" / self.ctx.name / f"iter-{iteration:05d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, (json.dumps({"iter": iteration, "set": self.options.set, "values": values}) + "\n").encode())

    def vote(self) -> Vote:
        """Vote to stop when the patience is used up, not to stop before; no decision without `patience`."""
        return self.patience.vote()

    def reason(self) -> str:
        """Return the metric that has not improved, and for how many validations."""
        delta = f" by more than {self.options.min_delta:g}" if self.options.min_delta else ""
        best = f"{self.metrics[0]} of {self.options.set} has not risen above {self.patience.mark:.4f}{delta}"
        return f"{self.ctx.name}: {best} in {self.patience.waited} validations"

    def result(self) -> dict[str, Any]:
        """Return the dev set, the metrics of its first stage, and the best weights."""
        return {"set": self.options.set, "first_stage": self.first_stage, "best": self.best}


def _means(values: PerQuery) -> dict[str, float]:
    return {metric: math.fsum(of_query.values()) / len(of_query) for metric, of_query in values.items()}
