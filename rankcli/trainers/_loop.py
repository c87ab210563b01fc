"""The training loop.

The order of start-up is a contract: seed, strategy, model with its initial weights, optimizers, listeners, resume,
loop. So is the order at the end of an iteration: metrics written, checkpoint, validation, stop vote. A run killed
between any two of them and started again does the missing part again, with the same result.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rankcli.backend import tf
from rankcli.config.schema import output_type
from rankcli.errors import ConfigError, Interrupted, TrainingError
from rankcli.listeners._base import DEV, Moment
from rankcli.listeners._team import Team, entry_of
from rankcli.log import Progress, say, warn
from rankcli.rerankers._base import Reranker, RerankerContext
from rankcli.rerankers._saved import load_reranker
from rankcli.trainers._access import Access, equal_losses
from rankcli.trainers._base import State, TrainerContext
from rankcli.trainers._checkpoint import Checkpoints, checkpoint_name
from rankcli.trainers._divergence import PATIENCE, check_weights, diverged, found_in, groups_of
from rankcli.trainers._gradients import Batches, stacked
from rankcli.trainers._groups import groups_for, trained
from rankcli.trainers._history import History
from rankcli.trainers._hooks import build_hooks
from rankcli.trainers._hosts import Hosts
from rankcli.trainers._loss_scale import LossScale
from rankcli.trainers._meter import Meter
from rankcli.trainers._predict import Predictor
from rankcli.trainers._signals import Stop, stopped_by
from rankcli.trainers._step import TrainingStep
from rankcli.trainers._strategy import is_static, make_runtime_deterministic, make_strategy, per_replica
from rankcli.trainers._tasks import task_batches
from rankcli.trainers.tensorflow import TensorflowTrainer


class Loop:
    """One training in one run directory: `fit()` starts or resumes it and returns the final state."""

    def __init__(self, options: TensorflowTrainer, ctx: TrainerContext) -> None:
        self.options, self.ctx, self.meter = options, ctx, Meter()
        self.team = Team(options, ctx.dev, ctx.out, sampler=ctx.sampler, output_type=output_type(ctx.reranker))
        self.stopped = ""  # why training was stopped before its last step
        self.team.before_initialisation()
        make_runtime_deterministic(options.seed)
        self.strategy = make_strategy(options.strategy, options.tpuname, options.tpuzone)
        self.hosts = Hosts(self.strategy)
        self.parts = self.strategy.num_replicas_in_sync * options.accumulate
        for groups in (groups for groups in options.batches.values() if groups % self.parts):
            raise ConfigError(
                f"{groups} groups cannot be dealt evenly to {self.strategy.num_replicas_in_sync} devices"
                + (f" in {options.accumulate} micro-batches each" if options.accumulate > 1 else ""),
                where="trainer.batch",
                fix=f"use a multiple of {self.parts}",
            )
        with self.strategy.scope():
            self.reranker: Reranker = ctx.reranker.build(
                RerankerContext(ctx.extractor, options.seed, options.dtype, ctx.pretrained)
            )
            if told := ctx.initialise(self.reranker):
                say(told)
            self.groups = trained(groups_for(self.reranker.variables, options))
            self.optimizers = [options.optimizer.build(group.members) for group in self.groups]
            self.scale = LossScale() if options.dtype == "float16" else None
            self.hooks = build_hooks(options.hooks, self.groups, output_type(ctx.reranker))
            states = [part.state for part in (*self.optimizers, self.scale) if part is not None]
            self.checkpoints = Checkpoints(
                ctx.out / "checkpoints", ctx.run_id, self.reranker.variables, states, options.keep
            )
        self.step = TrainingStep(
            self.strategy,
            self.reranker,
            self.hooks.objective(options.losses()),
            dict(zip((group.name for group in self.groups), self.optimizers, strict=True)),
            options.seed,
            accumulate=options.accumulate,
            scale=self.scale,
            penalties=self.hooks.penalties,
            hooks=self.hooks.gradients,
        )
        self.predictor = Predictor(self.strategy, self.reranker, ctx.extractor, options.evalbatch)
        self.factors = [options.factor(group.options.schedule) for group in self.groups]
        self.history = History(ctx.out / "metrics.jsonl")
        self.stop = Stop(self.hosts.most)
        self.access = Access(
            ctx,
            self.reranker,
            self.predictor,
            starts={group.name: group.starts_at(options.steps_per_iter) for group in self.groups},
            equal_losses=equal_losses(options.losses(), ctx.train),
            on_batch=self.stop.raise_if_asked,
            before_keep=self._before_keep,
        )
        self.team.after_initialisation(self.access)

    def fit(self) -> State:
        """Train to the last iteration, from the newest checkpoint if there is one."""
        with self.strategy.scope():
            restored = self.checkpoints.restore()
        state = restored or State()
        if restored:
            say(f"resuming at step {state.step} of {self.options.steps}")
            self.team.restore(state.listeners)
        entries = self.history.rewind(state)
        self.meter.lap("start")
        with self.stop, self.checkpoints, Progress(self.options.steps, "training", "steps") as bar:
            bar.advance(state.step)
            bar.start_here()
            self.team.start_training(self._now(state), entries)
            try:
                self._train(state, bar)
            except (Interrupted, TrainingError):
                self._settle()
                raise
        self.team.end_training(self._now(state), bool(self.stopped))
        return state

    def _train(self, state: State, bar: Progress) -> None:
        over = self._end_of_iteration(state, again=True)
        for batches in self._batches(state.step) if not over else ():
            if state.step % self.options.steps_per_iter == 0:
                self.team.start_iteration(self._now(state))
            self.meter.lap("waiting")
            fields = self._train_on(batches, state)
            self.meter.count(batches)
            self.meter.lap("steps")
            bar.advance(1, **fields, **self.meter.fields())
            if state.step % self.options.steps_per_iter == 0:
                over = self._end_of_iteration(state)
            elif self.options.checkpointsteps and state.step % self.options.checkpointsteps == 0:
                self._save(state)
            if asked := self.stop.asked():
                self._save(state)
                raise stopped_by(asked)
            if self.checkpoints.written():
                self.ctx.sync()
            if over:
                break
        self._settle()
        self.stop.raise_if_asked()

    def _now(self, state: State) -> Moment:
        return Moment(state.step // self.options.steps_per_iter, state.step)

    def best_predictor(self) -> Predictor:
        """A predictor with the weights that were best by `metrics.optimize`; `dev.run` is what they made of dev."""
        best = self.ctx.out / self.team.best[self.ctx.dev[DEV].metrics.optimize]["path"]
        with self.strategy.scope():
            reranker, extractor, _ = load_reranker(best, self.options.dtype)
        return Predictor(self.strategy, reranker, extractor, self.options.evalbatch)

    def outcome(self, state: State) -> dict[str, Any]:
        """What result.json says of a training that is over: the weights there are, why it stopped if it stopped early,
        and what the listeners have to tell.
        """
        now = self._now(state)
        last = {"iter": now.iteration, "step": now.step, "path": f"checkpoints/{checkpoint_name(now.iteration)}"}
        stopped = {"iter": now.iteration, "step": now.step, "why": self.stopped} if self.stopped else None
        return {"best": self.team.best, "last": last, "stopped": stopped, "listeners": self.team.results()}

    def learning_rates(self, step: int) -> dict[str, float]:
        """The learning rate of each group at a global step; 0 until it starts to train."""
        active = self._active(step)
        return {
            group.name: group.lr * factor(step) if on else 0.0
            for group, factor, on in zip(self.groups, self.factors, active, strict=True)
        }

    def _active(self, step: int) -> list[bool]:
        return [step >= group.starts_at(self.options.steps_per_iter) for group in self.groups]

    def _batches(self, start: int) -> Any:
        return task_batches(
            self.ctx.train,
            self.options.batches,
            parts=self.parts,
            start=start,
            steps=self.options.steps,
            static=is_static(self.strategy),
            here=self.hosts.part(self.parts),
        )

    def _train_on(self, batches: list[Batches], state: State) -> dict[str, str]:
        """One optimizer step; what the progress line shows of it."""
        started = time.monotonic()
        rates = self.learning_rates(state.step)
        done = self.step(
            per_replica(self.strategy, stacked(batches, self.options.accumulate)),
            tf.constant(state.step),
            tf.nest.map_structure(lambda number: tf.constant(float(number)), self.options.shares(state.step)),
            tf.constant([rates[group.name] for group in self.groups]),
            tf.constant(self._active(state.step)),
        )
        self._note(done, state)
        state.seconds += time.monotonic() - started
        return {"loss": f"{float(done['loss']):.4f}", "lr": " ".join(f"{rate:.1e}" for rate in rates.values())}

    def _note(self, done: Mapping[str, Any], state: State) -> None:
        """Count a step; one that was not finite is left out where a lower loss scale may still help."""
        if done["finite"]:
            norms = dict(zip((group.name for group in self.groups), done["grad_norm"].numpy().tolist(), strict=True))
            state.count(float(done["loss"]), {**self.step.told(done), "grad_norm": norms})
            state.unusable = 0
        else:
            if not (self.scale and done["scale"] > 1):
                self._leave_out(found_in(state.step + 1, float(done["loss"])), state)
            state.skipped += 1
        state.step += 1

    def _leave_out(self, what: str, state: State) -> None:
        """Say which batch spoils a step, which has changed nothing; an error where `on_nan` is not to go on."""
        groups = groups_of(self.ctx.train, self.options.batches, state.step)
        state.unusable += 1
        if self.options.on_nan == "stop":
            raise diverged(f"{what}; its batch:\n{groups}", self.ctx.out)
        if state.unusable > PATIENCE:
            raise diverged(f"{what}, as were the {PATIENCE} before; its batch:\n{groups}", self.ctx.out)
        warn(f"{what}; this batch is left out:\n{groups}")

    def _end_of_iteration(self, state: State, again: bool = False) -> bool:
        """Metrics, checkpoint, validation, vote; whether to stop here. `again` does only what a run that was cut off
        here has not done yet.
        """
        now = self._now(state)
        saved = now.iteration % self.options.checkpoint_interval == 0 or now.iteration == self.options.niters
        if not again:
            self._end_of_steps(now, state)
            if saved:
                self._save(state)
        if state.step % self.options.steps_per_iter:
            return False
        if state.validated < now.iteration:
            self._validate(now, state)
        why = self.team.why_stop()
        if not why or now.iteration == self.options.niters:
            return False
        say(f"iteration {now.iteration}: training stops here: {why}")
        self.stopped = why
        if not saved:
            self._save(state)
        return True

    def _end_of_steps(self, now: Moment, state: State) -> None:
        """Write the metrics of an iteration, and tell the listeners."""
        per_iter = self.options.steps_per_iter
        taken = per_iter - state.skipped
        entry = {
            "iter": now.iteration,
            "step": now.step,
            **state.means(taken),
            "lr": self.learning_rates(state.step - 1),
            "skipped": state.skipped,
            "seconds": state.seconds,
            **self.meter.rates(),
            "time": self.meter.times(),
        }
        self.history.append(entry)
        state.skipped = 0
        self.team.end_iteration(now, entry)

    def _save(self, state: State) -> None:
        """Begin to write a checkpoint, unless the last update spoiled the weights: none could go on from it."""
        variables = (entry for group in self.groups for entry in group.variables.items())
        check_weights(variables, state.step, self.ctx.out)
        state.listeners = self.team.states()
        self.checkpoints.save(state, self.options.steps_per_iter)
        self.meter.lap("checkpoints")

    def _settle(self) -> None:
        """Have everything on disk, and kept, that has been saved so far."""
        self.checkpoints.wait()
        self.ctx.sync()
        self.meter.lap("checkpoints")

    def _validate(self, now: Moment, state: State) -> None:
        """Let listeners measure the weights as they are."""
        self.access.renew()
        found = self.team.validate(now)
        state.validated = now.iteration
        if not found:
            return
        self.meter.lap("validation")
        entry = {**entry_of(now, found), "time": self.meter.times()}
        self.history.append(entry)
        self.team.after_validation(now, found, entry)
        self._settle()

    def _before_keep(self) -> None:
        self.meter.lap("validation")
        self.checkpoints.wait()
        self.meter.lap("checkpoints")
