"""The two computations that run on devices: one optimizer step, and the scores of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout
from rankcli.errors import TrainingError
from rankcli.losses._base import Loss
from rankcli.optimizers._base import Optimizer
from rankcli.rerankers._base import Reranker
from rankcli.shapes import Batch
from rankcli.trainers._gradients import accumulated, gradients_of
from rankcli.trainers._loss_scale import LossScale

Step = Callable[..., Any]


class TrainingStep:
    """One optimizer step over all replicas, as a compiled function; see `__call__`.

    Gradients are summed over replicas once. Where one of them, or the loss, is not finite, no variable and no slot of
    any group changes, on any replica.
    """

    def __init__(
        self,
        strategy: Any,
        reranker: Reranker,
        loss: Loss,
        optimizers: Sequence[Optimizer],
        seed: int,
        *,
        accumulate: int = 1,
        scale: LossScale | None = None,
    ) -> None:
        self._strategy, self._reranker, self._loss, self._seed = strategy, reranker, loss, seed
        self._optimizers, self._accumulate, self._scale = list(optimizers), accumulate, scale
        members = {path: member for optimizer in self._optimizers for path, member in optimizer.members.items()}
        self._paths, self._variables = list(members), [member.variable for member in members.values()]
        # Without AutoGraph, which would replace our errors by its own.
        self._compiled = tf.function(self._on_all, reduce_retracing=True, autograph=False)

    def __call__(self, batch: Any, number: Any, n_groups: Any, rates: Any, active: Any) -> dict[str, Any]:
        """Step `number` on one batch (or stack of micro-batches) per replica, `n_groups` groups together.

        `rates` and `active` are the learning rate of each group, float32 [G], and whether it is trained, bool [G].
        Returns scalars `loss` (mean over all groups, not scaled), `finite` (whether the update was made) and, with a
        loss scale, the `scale` that was used; and `grad_norm` [G], the norm of each group's gradient.
        """
        return self._compiled(batch, number, n_groups, rates, active)  # type: ignore[no-any-return]

    def _on_all(self, batch: Any, *scalars: Any) -> dict[str, Any]:
        results = self._strategy.run(self._on_replica, args=(batch, *scalars))
        return {name: self._strategy.experimental_local_results(value)[0] for name, value in results.items()}

    def _on_replica(self, batch: Any, number: Any, n_groups: Any, rates: Any, active: Any) -> dict[str, Any]:
        context = tf.distribute.get_replica_context()
        value, gradients = self._backward(batch, number, context.replica_id_in_sync_group, n_groups)
        value, *gradients = context.all_reduce("SUM", [value, *gradients])
        result = {"loss": value}
        if self._scale:
            result["scale"] = tf.convert_to_tensor(self._scale.state.scale)
            gradients = [gradient / result["scale"] for gradient in gradients]
        apart = self._by_group(gradients)
        result["grad_norm"] = tf.stack([tf.linalg.global_norm(group) for group in apart])
        result["finite"] = tf.math.is_finite(value) & tf.reduce_all(tf.math.is_finite(result["grad_norm"]))
        self._update(context, apart, result["finite"], rates, active)
        return result

    def _backward(self, batch: Any, number: Any, replica: Any, n_groups: Any) -> tuple[Any, list[Any]]:
        """This replica's share of the loss, and its gradients times the loss scale."""
        scale = None if self._scale is None else tf.convert_to_tensor(self._scale.state.scale)

        def part(batch: Batch, n: Any) -> tuple[Any, list[Any]]:
            dropout = Dropout.of(self._seed, number, replica, n)
            value, gradients = gradients_of(
                self._reranker, self._loss, self._variables, batch, dropout, n_groups, scale
            )
            idle = [path for path, gradient in zip(self._paths, gradients, strict=True) if gradient is None]
            if idle:
                raise TrainingError(f"these variables do not influence the loss: {', '.join(idle)}")
            return value, gradients

        return part(batch, 0) if self._accumulate == 1 else accumulated(part, self._variables, batch, self._accumulate)

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

    @tf.function(reduce_retracing=True)
    def step(batch: Any) -> Any:
        return strategy.run(reranker.scores, args=(batch,))

    return lambda batch: strategy.experimental_local_results(step(batch))
