"""The two computations that run on devices: one optimizer step, and the scores of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rankcli.backend import summed_over_replicas, tf
from rankcli.encoders.dropout import Dropout
from rankcli.errors import TrainingError
from rankcli.hooks.base import Gradients, Hook, has
from rankcli.optimizers.base import Optimizer
from rankcli.rerankers.base import Reranker
from rankcli.schedules.ramp import Ramp
from rankcli.shapes import Batch, Ints, Outputs, StepContext
from rankcli.training.base import StepInputs
from rankcli.training.gradients import (
    Batches,
    Objective,
    Outcome,
    Sums,
    accumulated,
    gradients_of,
    joined,
    numbered,
    ordered,
    with_penalties,
)
from rankcli.training.loss_scale import LossScale
from rankcli.training.strategy import Traced


class TrainingStep:
    """One optimizer step over all replicas, as a compiled function; see `__call__`.

    Gradients are summed over replicas once. After that, also once, penalties on variables are added, and hooks change
    the gradients in their order. At the end, hooks may change their state. Where a gradient or the loss is not finite,
    no variable, no slot and no state changes, on any replica.
    """

    def __init__(
        self,
        strategy: Any,
        reranker: Reranker,
        objective: Objective,
        optimizers: Mapping[str, Optimizer],
        seed: int,
        *,
        accumulate: int = 1,
        scale: LossScale | None = None,
        hooks: Sequence[Hook] = (),
        judged: Ints | None = None,
        keep_scores: bool = False,
    ) -> None:
        self._strategy, self._reranker, self._objective, self._seed = strategy, reranker, objective, seed
        self._accumulate, self._scale, self._keep_scores = accumulate, scale, keep_scores
        self._judged = () if judged is None or not len(judged) else tf.constant(judged)
        kinds = ("penalty", "gradients", "after")
        self._penalties, self._changing, self._learning = ([h for h in hooks if has(h, kind)] for kind in kinds)
        self._optimizers = list(optimizers.values())
        self._groups = {name: tuple(optimizer.members) for name, optimizer in optimizers.items()}
        members = {path: member for optimizer in self._optimizers for path, member in optimizer.members.items()}
        self._variables = {path: member.variable for path, member in members.items()}
        self.terms = numbered([*objective.names, *(hook.name for hook in self._penalties)])
        self.measures = numbered([*objective.measures, *(name for hook in self._changing for name in hook.notes)])
        self.shown = [*objective.shown, *(name for hook in self._changing if hook.progress_bar for name in hook.notes)]
        self.one, self.loop = Traced(strategy, self._on_all), Traced(strategy, self._in_turn)

    @property
    def weights(self) -> list[tuple[str, float | Ramp]]:
        """The task of each term, empty for a penalty, and its factor within the task."""
        return [*self._objective.weights, *(("", hook.weight) for hook in self._penalties)]

    def __call__(self, batches: Any, inputs: StepInputs) -> dict[str, Any]:
        """Make one step on one batch (or stack of micro-batches) of every task per replica.

        Returns scalars `loss` (the minimised value, not scaled), `finite` (True if the update was made) and, with a
        loss scale, the `scale` that was used; `losses` [T], the `terms` without their weights; `grad_norm` [G], the
        norm of each group's gradient before any hook; if hooks measure, `measures` [M, 2], their sums and counts; and
        with `keep_scores` the scores of each task, `scores/TASK` [groups, K], in the order of the samples.
        """
        return self.one(batches, inputs)  # type: ignore[no-any-return]

    def several(self, batches: Any, inputs: StepInputs) -> list[dict[str, Any]]:
        """Make several steps in one call, and return their results. The inputs are those of `__call__` with a new first
        axis.
        """
        done = self.loop(batches, inputs)
        return [{name: value[n] for name, value in done.items()} for n in range(len(inputs.number))]

    def losses_of(self, done: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        """Return the terms of a step to log under `losses`; empty if there is only one, which is the loss."""
        if len(self.terms) == 1:
            return {}
        return {"losses": dict(zip(self.terms, done["losses"].numpy().tolist(), strict=True))}

    def measures_of(self, done: Mapping[str, Any]) -> dict[str, list[float]]:
        """Return the sum and the count of each measure of a step."""
        return dict(zip(self.measures, done["measures"].numpy().tolist(), strict=True)) if self.measures else {}

    def _in_turn(self, batches: Any, inputs: StepInputs) -> dict[str, Any]:
        """Run steps in a loop of the graph, one iteration at a time."""

        def one(n: Any, found: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            at = functools.partial(tf.nest.map_structure, lambda leaf: leaf[n])

            def on_replica(batches: Any, inputs: StepInputs) -> dict[str, Any]:
                return self._on_replica(at(batches), inputs)

            done = self._on_all(batches, at(inputs), on_replica=on_replica)
            return n + 1, {name: array.write(n, done[name]) for name, array in found.items()}

        count = tf.shape(inputs.number)[0]
        kinds = {"loss": tf.float32, "losses": tf.float32, "grad_norm": tf.float32, "finite": tf.bool}
        kinds |= {"scale": tf.float32} if self._scale else {}
        kinds |= {"measures": tf.float32} if self.measures else {}
        kinds |= {name: tf.float32 for name in self._kept_scores}
        start = (tf.constant(0), {name: tf.TensorArray(kind, count) for name, kind in kinds.items()})
        loop = tf.while_loop(lambda n, *_: n < count, one, start, parallel_iterations=1)
        return {name: array.stack() for name, array in loop[1].items()}

    def _on_all(self, batches: Any, inputs: StepInputs, on_replica: Any = None) -> dict[str, Any]:
        results = self._strategy.run(on_replica or self._on_replica, args=(batches, inputs))
        return {name: self._strategy.experimental_local_results(value)[0] for name, value in results.items()}

    def _on_replica(self, batches: Batches, inputs: StepInputs) -> dict[str, Any]:
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group
        step = StepContext(self._gather(context), inputs.number, replica, self._judged)
        sums, batches, outputs = self._backward(batches, inputs, step)
        values, gradients, measured = self._summed(context, sums)
        result = {}
        if self._scale:
            result["scale"] = tf.convert_to_tensor(self._scale.state.scale)
            gradients = [gradient / result["scale"] for gradient in gradients]
        values, gradients = with_penalties(self._penalties, inputs.weights, self._variables, values, gradients)
        result.update(loss=values[0], losses=values[1:])
        result["grad_norm"] = tf.stack([tf.linalg.global_norm(group) for group in self._by_group(gradients)])
        result["finite"] = tf.math.is_finite(values[0]) & tf.reduce_all(tf.math.is_finite(result["grad_norm"]))
        gradients, noted = self._changed(gradients, inputs.active)
        if self.measures:
            result["measures"] = tf.concat([measured, noted], axis=0)
        self._update(context, self._by_group(gradients), result["finite"], inputs)
        self._learn(context, batches, outputs, step, result["finite"])
        for name, task in self._kept_scores.items():
            result[name] = self._in_order(step.gather(outputs[task].scores))
        return result

    @property
    def _kept_scores(self) -> dict[str, str]:
        """The tasks whose scores are returned, by the name in the results."""
        return {f"scores/{task}": task for task in self._objective.tasks} if self._keep_scores else {}

    def _in_order(self, rows: Any) -> Any:
        """Return the rows of all replicas and micro-batches, which take samples in turn, in the order of samples."""
        parts = self._strategy.num_replicas_in_sync * self._accumulate
        by_part = tf.reshape(rows, [parts, -1, tf.shape(rows)[1]])
        return tf.reshape(tf.transpose(by_part, [1, 0, 2]), tf.shape(rows))

    def _gather(self, context: Any) -> Callable[[Any], Any]:
        """Return `StepContext.gather` of this replica."""
        if self._strategy.num_replicas_in_sync == 1:
            return StepContext().gather
        return functools.partial(context.all_gather, axis=0)

    def _summed(self, context: Any, sums: Sums) -> Sums:
        """Sum over all replicas."""
        measured = [sums.measured] if self._objective.measures else []
        values, *others = summed_over_replicas(context, [sums.values, *sums.gradients, *measured])
        return Sums(values, others[: len(sums.gradients)], others[-1] if measured else sums.measured)

    def _backward(
        self, batches: Batches, inputs: StepInputs, step: StepContext
    ) -> tuple[Sums, Batches, Mapping[str, Outputs]]:
        """Return this replica's share of the sums, with gradients times the loss scale; its batches; and their outputs.

        With micro-batches, batches and outputs are joined, and only made if a hook has `after`, or scores are kept.
        """
        scale = None if self._scale is None else tf.convert_to_tensor(self._scale.state.scale)
        variables = list(self._variables.values())

        def part(batches: Batches, n: Any, step: StepContext) -> Outcome:
            dropout = Dropout.of(self._seed, inputs.number, step.replica, n)
            sums, outputs = gradients_of(
                self._objective, self._reranker, variables, batches, dropout, inputs, step, scale
            )
            idle = [path for path, value in zip(self._variables, sums.gradients, strict=True) if value is None]
            if idle:
                raise TrainingError(f"these variables do not influence the loss: {', '.join(idle)}")
            return sums, outputs

        if self._accumulate == 1:
            sums, outputs = part(batches, 0, step)
            return sums, batches, outputs
        alone = functools.partial(part, step=step._replace(gather=_not_gathered))
        kept = list(batches) if self._learning or self._keep_scores else []
        sums, scores = accumulated(alone, self._zeros(), kept, batches, self._accumulate)
        return sums, *joined(batches, scores)

    def _zeros(self) -> Sums:
        gradients = [tf.zeros(variable.shape) for variable in self._variables.values()]
        objective = self._objective
        return Sums(tf.zeros([1 + len(objective.names)]), gradients, tf.zeros([len(objective.measures), 2]))

    def _changed(self, gradients: Sequence[Any], active: Any) -> tuple[list[Any], Any]:
        """Return the gradients after all hooks, and the values that the hooks noted, float32 [N, 2]."""
        switches = {name: active[n] for n, name in enumerate(self._groups)}
        found, noted = dict(zip(self._variables, gradients, strict=True)), list[Any]()
        for hook in self._changing:
            changed = hook.gradients(Gradients(found, self._groups, switches))
            found = dict(changed.values)
            noted += [tf.stack([value, 1.0]) for value in ordered(hook, changed.noted, hook.notes)]
        return [found[path] for path in self._variables], tf.stack(noted) if noted else tf.zeros([0, 2])

    def _by_group(self, gradients: Sequence[Any]) -> list[list[Any]]:
        left = iter(gradients)
        return [[next(left) for _ in optimizer.members] for optimizer in self._optimizers]

    def _update(self, context: Any, gradients: list[list[Any]], finite: Any, inputs: StepInputs) -> None:
        applied = [finite & inputs.active[n] for n in range(len(self._optimizers))]
        scalars = [
            optimizer.coefficients(inputs.rates[n], apply)
            for n, (optimizer, apply) in enumerate(zip(self._optimizers, applied, strict=True))
        ]
        following = self._scale.next(finite) if self._scale else ()
        context.merge_call(self._update_all, args=(gradients, scalars, applied, following))

    def _update_all(self, strategy: Any, gradients: Any, scalars: Any, applied: Any, following: Any) -> None:
        for optimizer, *of_group in zip(self._optimizers, gradients, scalars, applied, strict=True):
            optimizer.update(strategy, *of_group)
        if self._scale:
            self._scale.update(strategy, *following)

    def _learn(
        self, context: Any, batches: Batches, outputs: Mapping[str, Outputs], step: StepContext, finite: Any
    ) -> None:
        """Let hooks change their state, one task after the other."""
        for task in batches:
            for hook in self._learning:
                values = hook.after(batches[task], outputs[task], step)
                set_state(context, hook.state, values, finite)


def set_state(context: Any, state: Any, values: Mapping[str, Any], finite: Any) -> None:
    """Set variables of a module, by attribute, on every replica; nothing changes where `finite` is False."""
    variables = tf.nest.flatten({name: getattr(state, name) for name in values})
    chosen = [tf.where(finite, value, old) for value, old in zip(tf.nest.flatten(dict(values)), variables, strict=True)]

    def assign(strategy: Any, chosen: Sequence[Any]) -> None:
        for variable, value in zip(variables, chosen, strict=True):
            strategy.extended.update(variable, lambda own, new: own.assign(new), args=(value,), group=False)

    context.merge_call(assign, args=(chosen,))


def _not_gathered(tensor: Any) -> Any:
    raise TrainingError(
        "a loss or hook gathers the batch, of which a micro-batch is only a part",
        where="trainer.accumulate",
        fix="use accumulate = 1; its options should declare in_batch = True",
    )


def prediction_step(strategy: Any, reranker: Reranker) -> Traced:
    """Return the function from a batch per replica to their scores [B, K]."""

    def scores(batch: Batch) -> Any:
        return reranker(batch).scores

    return Traced(strategy, lambda batch: strategy.run(scores, args=(batch,)))
