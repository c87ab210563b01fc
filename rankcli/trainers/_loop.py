"""The training loop.

The order of start-up is a contract: seed, strategy, model with its initial weights, optimizers, resume, loop. So is the
order at the end of an iteration: metrics written, checkpoint, validation. A run killed between any two of them and
started again does the missing part again, with the same result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.data.trec import write_run
from rankcli.errors import ConfigError, TrainingError
from rankcli.evaluation.trec import evaluate
from rankcli.log import Progress, say
from rankcli.records.reader import training_batches
from rankcli.rerankers._base import Reranker, RerankerContext
from rankcli.rerankers._saved import load_reranker, save_reranker
from rankcli.shapes import Batch
from rankcli.trainers._base import Scores, State, TrainerContext
from rankcli.trainers._checkpoint import Checkpoints
from rankcli.trainers._groups import groups_for, optimizer
from rankcli.trainers._history import History
from rankcli.trainers._predict import Predictor
from rankcli.trainers._runs import rerank
from rankcli.trainers._signals import Stop
from rankcli.trainers._step import training_step
from rankcli.trainers._strategy import is_static, make_runtime_deterministic, make_strategy, per_replica
from rankcli.trainers.tensorflow import TensorflowTrainer


class Loop:
    """One training in one run directory: `fit()` starts or resumes it and returns the final state."""

    def __init__(self, options: TensorflowTrainer, ctx: TrainerContext) -> None:
        self.options, self.ctx = options, ctx
        make_runtime_deterministic(options.seed)
        self.strategy = make_strategy(options.strategy, options.tpuname, options.tpuzone)
        replicas = self.strategy.num_replicas_in_sync
        if options.batch % replicas:
            raise ConfigError(
                f"{options.batch} groups cannot be dealt evenly to {replicas} devices",
                where="trainer.batch",
                fix=f"use a multiple of {replicas}",
            )
        with self.strategy.scope():
            self.reranker: Reranker = ctx.reranker.build(
                RerankerContext(ctx.extractor, options.seed, options.dtype, ctx.pretrained)
            )
            self.groups = groups_for(self.reranker.variables, options.bertlr, options.lr)
            self.optimizers = [optimizer(group) for group in self.groups]
            self.checkpoints = Checkpoints(
                ctx.out / "checkpoints", ctx.run_id, self.reranker.variables, self.optimizers
            )
        self.step = training_step(
            self.strategy, self.reranker, options.loss.build(), self.groups, self.optimizers, options.seed
        )
        self.predictor = Predictor(self.strategy, self.reranker, ctx.extractor, options.evalbatch)
        self.factor = options.factor()
        self.history = History(ctx.out / "metrics.jsonl")
        self.stop = Stop()

    def fit(self) -> State:
        """Train to the last iteration, from the newest checkpoint if there is one."""
        with self.strategy.scope():
            state = self.checkpoints.restore() or State()
        if state.step:
            say(f"resuming at step {state.step} of {self.options.steps}")
        self.history.rewind(state)
        with self.stop, Progress(self.options.steps, "training", "steps") as bar:
            bar.advance(state.step)
            bar.start_here()
            self._end_of_iteration(state, again=True)
            for batches in self._batches(state.step):
                fields = self._train_on(batches, state)
                bar.advance(1, **fields)
                if state.step % self.options.steps_per_iter == 0:
                    self._end_of_iteration(state)
                if self.stop.signum:
                    self._save(state)
                    self.stop.raise_if_asked()
        return state

    def best_predictor(self, state: State) -> Predictor:
        """A predictor with the weights that were best by `metrics.optimize`; `dev.run` is what they made of dev."""
        best = self.ctx.out / state.best[self.ctx.dev.metrics.optimize]["path"]
        with self.strategy.scope():
            reranker, extractor, _ = load_reranker(best, self.options.dtype)
        return Predictor(self.strategy, reranker, extractor, self.options.evalbatch)

    def learning_rates(self, step: int) -> dict[str, float]:
        """The learning rate of each group at a global step."""
        return {group.name: group.lr * self.factor(step) for group in self.groups}

    def _batches(self, start: int) -> Any:
        options, records = self.options, self.ctx.train
        return training_batches(
            records.manifest,
            records.storage,
            self.ctx.extractor,
            batch=options.batch,
            replicas=self.strategy.num_replicas_in_sync,
            start_step=start,
            steps=options.steps,
            static=is_static(self.strategy),
        )

    def _train_on(self, batches: list[Batch], state: State) -> dict[str, str]:
        """One optimizer step; what the progress line shows of it."""
        started = time.monotonic()
        rates = self.learning_rates(state.step)
        for group, adam in zip(self.groups, self.optimizers, strict=True):
            adam.learning_rate.assign(rates[group.name])
        groups = tf.constant(float(self.options.batch))
        loss = float(self.step(per_replica(self.strategy, batches), tf.constant(state.step), groups))
        if not math.isfinite(loss):
            raise _diverged(f"the loss of step {state.step + 1} is {loss}", self.ctx.out)
        state.step += 1
        state.loss_sum += loss
        state.seconds += time.monotonic() - started
        return {"loss": f"{loss:.4f}", "lr": " ".join(f"{rate:.2e}" for rate in rates.values())}

    def _end_of_iteration(self, state: State, again: bool = False) -> None:
        """Metrics, checkpoint, validation; `again` does only what a run that was cut off here has not done yet."""
        per_iter = self.options.steps_per_iter
        iteration, between = divmod(state.step, per_iter)
        if not again:
            rates = self.learning_rates(state.step - 1)
            self.history.append(
                {
                    "iter": iteration,
                    "step": state.step,
                    "loss": state.loss_sum / per_iter,
                    "lr": rates,
                    "seconds": state.seconds,
                }
            )
            state.loss_sum = 0.0
            self._save(state)
        due = iteration % self.options.validatefreq == 0 or iteration == self.options.niters
        if not between and due and not state.validated(iteration):
            self._validate(iteration, state)

    def _save(self, state: State) -> None:
        """Write a checkpoint, unless the last update spoiled the weights: nothing could be resumed from it."""
        for group in self.groups:
            for path, variable in group.variables.items():
                if not bool(tf.reduce_all(tf.math.is_finite(variable))):
                    raise _diverged(f"after step {state.step}, {path} holds a number that is not finite", self.ctx.out)
        self.checkpoints.save(state, self.options.steps_per_iter)

    def _validate(self, iteration: int, state: State) -> None:
        """Rerank the dev queries, note the metrics, keep the weights that are best by any of them."""
        dev = self.ctx.dev
        label = f"validating after iteration {iteration}"
        scores = self.predictor.scores(dev.records, label, self.stop.raise_if_asked)
        run = rerank(dev.first_stage, scores)
        per_query = evaluate(dev.qrels, run, dev.metrics.all, dev.relevance_level)
        means = {metric: math.fsum(values.values()) / len(values) for metric, values in per_query.items()}
        self._keep_best(iteration, means, run, state)
        state.history.append({"iter": iteration, "dev": means})
        self.history.append({"iter": iteration, "step": state.step, "dev": means})
        say(f"iteration {iteration}: dev " + ", ".join(f"{metric} {value:.4f}" for metric, value in means.items()))

    def _keep_best(self, iteration: int, means: Mapping[str, float], run: Scores, state: State) -> None:
        for metric, value in means.items():
            if metric not in state.best or value > state.best[metric]["value"]:
                path = Path("best") / metric
                save_reranker(self.reranker, self.ctx.extractor, dict(self.ctx.sections), self.ctx.out / path)
                state.best[metric] = {"iter": iteration, "value": value, "path": str(path)}
                if metric == self.ctx.dev.metrics.optimize:
                    write_run(self.ctx.out / "dev.run", run)


def _diverged(what: str, out: Path) -> TrainingError:
    fix = "lower bertlr and lr; the last checkpoint and the best weights are kept"
    return TrainingError(what, where=str(out), fix=fix)
