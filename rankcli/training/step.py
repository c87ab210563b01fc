"""The two computations that run on devices: one optimizer step, and the scores of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout
from rankcli.errors import TrainingError
from rankcli.hooks.base import GradientHook, Gradients, Penalty
from rankcli.optimizers.base import Optimizer
from rankcli.rerankers.base import Reranker
from rankcli.training.base import Share
from rankcli.training.gradients import Batches, accumulated, gradients_of, with_penalties
from rankcli.training.loss_scale import LossScale
from rankcli.training.objective import Objective, numbered
from rankcli.training.strategy import Traced

Step = Callable[..., Any]


class TrainingStep:
    """One optimizer step over all replicas, as a compiled function; see `__call__`.

    Gradients are summed over replicas once. Then come, once too, the penalties on variables, and the changes of
    gradients in their order. Where a gradient, or the loss, is not finite, no variable and no slot of any group
    changes, on any replica.
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
        penalties: Sequence[Penalty] = (),
        hooks: Sequence[GradientHook] = (),
    ) -> None:
        self._strategy, self._reranker, self._objective, self._seed = strategy, reranker, objective, seed
        self._accumulate, self._scale, self._penalties, self._hooks = accumulate, scale, penalties, hooks
        self._optimizers = list(optimizers.values())
        self._groups = {name: tuple(optimizer.members) for name, optimizer in optimizers.items()}
        members = {path: member for optimizer in self._optimizers for path, member in optimizer.members.items()}
        self._variables = {path: member.variable for path, member in members.items()}
        self.terms = numbered([*objective.names, *(penalty.name for penalty in penalties)])
        self.measures = numbered([name for hook in hooks for name in hook.measures])
        self._compiled, self._loop = Traced(strategy, self._on_all), Traced(strategy, self._in_turn)

    def __call__(
        self, batches: Any, number: Any, shares: Mapping[str, Share], rates: Any, active: Any
    ) -> dict[str, Any]:
        """Step `number` on one batch (or stack of micro-batches) of every task per replica.

        `rates` and `active` are the learning rate of each group, float32 [G], and whether it is trained, bool [G].
        Returns scalars `loss` (what was minimised, not scaled), `finite` (whether the update was made) and, with a
        loss scale, the `scale` that was used; `losses` [T], the `terms` without their weights; `grad_norm` [G], the
        norm of each group's gradient before any hook; and what hooks measured, by `measures`.
        """
        return self._compiled(batches, number, shares, rates, active)  # type: ignore[no-any-return]

    def several(
        self, batches: Any, numbers: Any, shares: Mapping[str, Share], rates: Any, active: Any
    ) -> list[dict[str, Any]]:
        """Steps one after the other in one call: everything as in `__call__`, with a new first axis."""
        done = self._loop(batches, numbers, shares, rates, active)
        return [{name: value[n] for name, value in done.items()} for n in range(len(numbers))]

    def told(self, done: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        """What there is to log of a step beside its loss: its terms, if there are several, and what hooks measured."""
        names = {"losses": self.terms if len(self.terms) > 1 else (), "measures": self.measures}
        return {
            kind: dict(zip(found, done[kind].numpy().tolist(), strict=True)) for kind, found in names.items() if found
        }

    def _in_turn(self, batches: Any, *given: Any) -> dict[str, Any]:
        """A loop of the graph over steps, one iteration at a time."""

        def one(n: Any, found: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            at = functools.partial(tf.nest.map_structure, lambda leaf: leaf[n])

            def on_replica(batches: Any, *given: Any) -> dict[str, Any]:
                return self._on_replica(at(batches), *given)

            done = self._on_all(batches, *at(given), on_replica=on_replica)
            return n + 1, {name: array.write(n, done[name]) for name, array in found.items()}

        count = tf.shape(given[0])[0]
        kinds = {"loss": tf.float32, "losses": tf.float32, "grad_norm": tf.float32, "finite": tf.bool}
        kinds |= {"scale": tf.float32} if self._scale else {}
        kinds |= {"measures": tf.float32} if self._hooks else {}
        start = (tf.constant(0), {name: tf.TensorArray(kind, count) for name, kind in kinds.items()})
        loop = tf.while_loop(lambda n, *_: n < count, one, start, parallel_iterations=1)
        return {name: array.stack() for name, array in loop[1].items()}

    def _on_all(self, batches: Any, *given: Any, on_replica: Any = None) -> dict[str, Any]:
        results = self._strategy.run(on_replica or self._on_replica, args=(batches, *given))
        return {name: self._strategy.experimental_local_results(value)[0] for name, value in results.items()}

    def _on_replica(self, batches: Batches, number: Any, shares: Any, rates: Any, active: Any) -> dict[str, Any]:
        context = tf.distribute.get_replica_context()
        values, gradients = self._backward(batches, number, context.replica_id_in_sync_group, shares)
        values, *gradients = context.all_reduce("SUM", [values, *gradients])
        result = {}
        if self._scale:
            result["scale"] = tf.convert_to_tensor(self._scale.state.scale)
            gradients = [gradient / result["scale"] for gradient in gradients]
        values, gradients = with_penalties(self._penalties, self._variables, values, gradients)
        result.update(loss=values[0], losses=values[1:])
        result["grad_norm"] = tf.stack([tf.linalg.global_norm(group) for group in self._by_group(gradients)])
        result["finite"] = tf.math.is_finite(values[0]) & tf.reduce_all(tf.math.is_finite(result["grad_norm"]))
        if self._hooks:
            gradients, result["measures"] = self._hooked(gradients, active)
        self._update(context, self._by_group(gradients), result["finite"], rates, active)
        return result

    def _backward(
        self, batches: Batches, number: Any, replica: Any, shares: Mapping[str, Share]
    ) -> tuple[Any, list[Any]]:
        """This replica's share of the loss and its terms, and its gradients times the loss scale."""
        scale = None if self._scale is None else tf.convert_to_tensor(self._scale.state.scale)
        variables = list(self._variables.values())

        def part(batches: Batches, n: Any) -> tuple[Any, list[Any]]:
            dropout = Dropout.of(self._seed, number, replica, n)
            values, gradients = gradients_of(
                self._objective, self._reranker, variables, batches, dropout, shares, scale
            )
            idle = [path for path, gradient in zip(self._variables, gradients, strict=True) if gradient is None]
            if idle:
                raise TrainingError(f"these variables do not influence the loss: {', '.join(idle)}")
            return values, gradients

        if self._accumulate == 1:
            return part(batches, 0)
        return accumulated(part, variables, len(self._objective.names), batches, self._accumulate)

    def _hooked(self, gradients: Sequence[Any], active: Any) -> tuple[list[Any], Any]:
        """The gradients that the hooks make of these, and what they measured, float32 [M]."""
        switches = {name: active[n] for n, name in enumerate(self._groups)}
        found = Gradients(dict(zip(self._variables, gradients, strict=True)), self._groups, switches)
        measured: list[Any] = []
        for hook in self._hooks:
            found, values = hook(found)
            measured += values
        return [found.values[path] for path in self._variables], tf.stack(measured) if measured else tf.zeros([0])

    def _by_group(self, gradients: Sequence[Any]) -> list[list[Any]]:
        left = iter(gradients)
        return [[next(left) for _ in optimizer.members] for optimizer in self._optimizers]

    def _update(self, context: Any, gradients: list[list[Any]], finite: Any, rates: Any, active: Any) -> None:
        applied = [finite & active[n] for n in range(len(self._optimizers))]
        scalars = [
            optimizer.coefficients(rates[n], apply)
            for n, (optimizer, apply) in enumerate(zip(self._optimizers, applied, strict=True))
        ]
        following = self._scale.next(finite) if self._scale else ()
        context.merge_call(self._update_all, args=(gradients, scalars, applied, following))

    def _update_all(self, strategy: Any, gradients: Any, scalars: Any, applied: Any, following: Any) -> None:
        for optimizer, *of_group in zip(self._optimizers, gradients, scalars, applied, strict=True):
            optimizer.update(strategy, *of_group)
        if self._scale:
            self._scale.update(strategy, *following)


def prediction_step(strategy: Any, reranker: Reranker) -> Step:
    """`step(batch) -> [scores [B, K] of each replica]`."""

    step = Traced(strategy, lambda batch: strategy.run(reranker.scores, args=(batch,)))
    return lambda batch: strategy.experimental_local_results(step(batch))
