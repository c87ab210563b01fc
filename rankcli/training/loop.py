"""The training loop.

The order of start-up is a contract: seed, strategy, model with its initial weights, optimizers, listeners, resume,
loop. So is the order at the end of an iteration: metrics written, checkpoint, validation, stop vote. A run killed
between any two of them and started again does the missing part again, with the same result.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rankcli.errors import Interrupted, TrainingError
from rankcli.evaluation.runs import rerank
from rankcli.extractors.base import Extractor
from rankcli.listeners.base import DEV, Moment
from rankcli.listeners.team import Listeners, entry_of
from rankcli.log import Progress, say
from rankcli.rerankers.base import Reranker
from rankcli.rerankers.saved import load_reranker
from rankcli.storage.noted import Noted
from rankcli.training.base import State, TrainerContext, measures
from rankcli.training.best import damaged_weights, make_again
from rankcli.training.checkpoint import Checkpoints, checkpoint_name, of_this_training
from rankcli.training.divergence import check_weights, leave_out
from rankcli.training.encode import NOTHING_KEPT, keep_vectors, scorer
from rankcli.training.executions import Executions
from rankcli.training.gradients import Batches
from rankcli.training.handle import TrainingHandle, equal_losses
from rankcli.training.history import History
from rankcli.training.hosts import Hosts
from rankcli.training.learner import Learner
from rankcli.training.meter import Meter
from rankcli.training.predict import Scorer
from rankcli.training.settings import Settings
from rankcli.training.signals import Stop, stopped_by
from rankcli.training.strategy import is_static, open_devices
from rankcli.training.tasks import task_batches


class Loop:
    """One training in one run directory: `fit()` starts or resumes it and returns the final state."""

    def __init__(self, options: Settings, ctx: TrainerContext) -> None:
        self.options, self.ctx, self.meter = options, ctx, Meter()
        self.team = Listeners(options, ctx.dev, ctx.out, sampler=ctx.sampler)
        self.stopped = ""  # the reason why training stopped before its last step
        self.team.before_initialisation()
        self.strategy = open_devices(options)
        self.hosts = Hosts(self.strategy)
        self.parts = self.strategy.num_replicas_in_sync * options.accumulate
        self.learner = Learner(options, ctx, self.strategy, keep_scores=self.team.reads_scores)
        self.checkpoints = Checkpoints(
            ctx.out / "checkpoints",
            ctx.run_id,
            self.learner.reranker.variables,
            self.learner.states,
            options.keep,
            self.learner.hook_states,
        )
        self.kept = ctx.keep(self.strategy, self.learner.reranker, ctx.extractor) if ctx.keep else NOTHING_KEPT
        self.scorer = self._scorer(self.learner.reranker, ctx.extractor)
        self.history = History(ctx.out / "metrics.jsonl")
        self.stop = Stop(self.hosts.max_over_hosts)
        self.access = TrainingHandle(
            ctx,
            self.learner.reranker,
            self.scorer,
            starts=self.learner.rates.starts,
            equal_losses=equal_losses(options.losses(), ctx.train),
            batches=options.batches,
            on_batch=self.stop.raise_if_asked,
            before_keep=self._before_keep,
        )
        self.team.after_initialisation(self.access)

    def fit(self) -> State:
        """Train to the last iteration, from the newest checkpoint if there is one."""
        restored = self._restored()
        state = restored or State()
        if restored:
            say(f"resuming at step {state.step} of {self.options.steps}")
        with of_this_training(self.checkpoints.directory):
            self.team.restore(state.listeners)
            entries = self.history.rewind(state)
        for each in self.ctx.train.values():  # now, so that no step waits for it
            keep_vectors(self.kept, each.records, each.extractor)
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

    def _restored(self) -> State | None:
        """Load the newest checkpoint. Best weights that are gone since then are made again."""
        with self.strategy.scope():
            state = self.checkpoints.restore(self.options.steps_per_iter)
            with of_this_training(self.checkpoints.directory):
                best = state.listeners.get(self.team.main, {}).get("best", {}) if state else {}
                gone = damaged_weights(self.ctx.out, best)
            for metric, error in gone.items():
                make_again(self.ctx.out, best[metric], error, self.learner.reranker.variables, self.access.keep)
            return self.checkpoints.restore(self.options.steps_per_iter) if gone else state

    def _train(self, state: State, bar: Progress) -> None:
        over = self._end_of_iteration(state, again=True)
        for batches in self._batches(state.step) if not over else ():
            if state.step % self.options.steps_per_iter == 0:
                self.team.start_iteration(self._now(state))
            self.meter.lap("waiting")
            before = state.step
            fields = self._train_on(batches, state)
            self.meter.count(batches)
            self.meter.lap("steps")
            bar.advance(state.step - before, **fields, **self.meter.fields())
            interval = self.options.checkpointsteps
            if state.step % self.options.steps_per_iter == 0:
                over = self._end_of_iteration(state)
            elif interval and state.step // interval > before // interval:
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

    def best_scorer(self) -> Scorer:
        """Return a scorer with the best weights by `metrics.optimize`. `dev.run` has their scores on dev."""
        best = self.ctx.out / self.team.best[self.ctx.dev[DEV].metrics.optimize]["path"]
        with self.strategy.scope():
            reranker, extractor, _ = load_reranker(best, self.options.dtype)
            reranker.freeze()
        return self._scorer(reranker, extractor)

    @property
    def dev_run(self) -> Noted:
        """Size and checksum of `dev.run`."""
        return self.team.validator.written

    def write_dev_run(self) -> None:
        """Rerank dev with the best weights, and write `dev.run` again."""
        dev = self.ctx.dev[DEV]
        scores = self.best_scorer().scores(dev.records, "reranking dev")
        self.team.validator.write_run(rerank(dev.first_stage, scores))

    def _scorer(self, reranker: Reranker, extractor: Extractor) -> Scorer:
        whole_groups = self.ctx.reranker.listwise
        return scorer(self.strategy, reranker, extractor, self.options.evalbatch, whole_groups, self.kept)

    def outcome(self, state: State) -> dict[str, Any]:
        """Return the entries of result.json about a finished training: the saved weights, the reason if it stopped
        early, and the results of the listeners.
        """
        now = self._now(state)
        last = {"iter": now.iteration, "step": now.step, "path": f"checkpoints/{checkpoint_name(now.iteration)}"}
        stopped = {"iter": now.iteration, "step": now.step, "why": self.stopped} if self.stopped else None
        return {"best": self.team.best, "last": last, "stopped": stopped, "listeners": self.team.results()}

    def _batches(self, start: int) -> Any:
        """Return an iterator over executions: for each of its steps, the batches of this host's parts."""
        options = self.options
        return task_batches(
            self.ctx.train,
            options.batches,
            parts=self.parts,
            start=start,
            steps=options.steps,
            static=is_static(self.strategy),
            here=self.hosts.part(self.parts),
            at_once=Executions(start, options.steps, options.steps_per_iter, options.steps_per_execution),
            known=self.kept.known,
        )

    def _train_on(self, batches: list[Batches], state: State) -> dict[str, str]:
        """Make the optimizer steps of one execution. Return the fields of the progress line for the last one."""
        started = time.monotonic()
        for done in self.learner.train(batches, state.step, self.hosts.replicas):
            noted = self._note(done, state)
            self.team.end_step(self._now(state), {**done, "noted": noted})
        rates = self.learner.rates(state.step - 1).values()
        state.seconds += time.monotonic() - started
        shown = {name: found for name, found in noted.get("measures", {}).items() if name in self.learner.step.shown}
        measures = {name: f"{value:.3f}" for name, value in shown.items() if value is not None}
        return {"loss": f"{float(done['loss']):.4f}", **measures, "lr": " ".join(f"{rate:.1e}" for rate in rates)}

    def _note(self, done: Mapping[str, Any], state: State) -> dict[str, Any]:
        """Count a step, and return what the log says of it; nothing of a step that is not finite.

        Such a step is skipped silently while a lower loss scale may still help.
        """
        noted: dict[str, Any] = {}
        if done["finite"]:
            norms = dict(zip(self.learner.rates.starts, done["grad_norm"].numpy().tolist(), strict=True))
            step = self.learner.step
            loss, logged = float(done["loss"]), {**step.losses_of(done), "grad_norm": norms}
            state.count(loss, logged, measured := step.measures_of(done))
            noted = {"loss": loss, **logged, **measures(measured)}
            state.unusable = 0
        else:
            if not (self.learner.scale and done["scale"] > 1):
                leave_out(float(done["loss"]), state, self.options, self.ctx)
            state.skipped += 1
        state.step += 1
        return noted

    def _end_of_iteration(self, state: State, again: bool = False) -> bool:
        """Write metrics and checkpoint, validate, vote. Return True to stop here.

        With `again`, do only the parts that an interrupted run did not do.
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
        """Write the metrics of an iteration, and pass them to the listeners."""
        per_iter = self.options.steps_per_iter
        taken = per_iter - state.skipped
        entry = {
            "iter": now.iteration,
            "step": now.step,
            **state.means(taken),
            "lr": self.learner.rates(state.step - 1),
            "skipped": state.skipped,
            "seconds": state.seconds,
            **self.meter.rates(),
            "time": self.meter.times(),
        }
        self.history.append(entry)
        state.skipped = 0
        self.team.end_iteration(now, entry)

    def _save(self, state: State) -> None:
        """Start to write a checkpoint. TrainingError if a weight is not finite, since no run could resume from it."""
        check_weights(self.learner.trained_variables(), state.step, self.ctx.out)
        state.listeners, state.history = self.team.states(), self.history.extent
        self.checkpoints.save(state, self.options.steps_per_iter)
        self.meter.lap("checkpoints")

    def _settle(self) -> None:
        """Wait until everything saved so far is on disk and synced."""
        self.checkpoints.wait()
        self.ctx.sync()
        self.meter.lap("checkpoints")

    def _validate(self, now: Moment, state: State) -> None:
        """Let listeners validate the present weights."""
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
