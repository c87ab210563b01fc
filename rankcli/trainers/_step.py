"""The two computations that run on devices: one optimizer step, and the scores of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout
from rankcli.errors import TrainingError
from rankcli.losses._base import Loss
from rankcli.rerankers._base import Reranker
from rankcli.shapes import Batch
from rankcli.trainers._groups import Group

Step = Callable[..., Any]


def gradients_of(
    reranker: Reranker, loss: Loss, variables: Sequence[Any], batch: Batch, dropout: Dropout | None, groups: Any
) -> tuple[Any, list[Any]]:
    """This replica's share of the loss (sum over its groups / `groups` of all replicas) and its gradients."""
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(loss(batch, reranker.scores(batch, dropout))) / groups
    return value, tape.gradient(value, variables)


def training_step(
    strategy: Any, reranker: Reranker, loss: Loss, groups: Sequence[Group], optimizers: Sequence[Any], seed: int
) -> Step:
    """`step(batch, number, n_groups) -> loss`: the mean loss over all replicas' groups, after one update of every
    group.
    """
    paths = [path for group in groups for path in group.variables]
    variables = [variable for group in groups for variable in group.variables.values()]

    def on_replica(batch: Batch, number: Any, n_groups: Any) -> Any:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        value, gradients = gradients_of(reranker, loss, variables, batch, Dropout.of(seed, number, replica), n_groups)
        idle = [path for path, gradient in zip(paths, gradients, strict=True) if gradient is None]
        if idle:
            raise TrainingError(f"these variables do not influence the loss: {', '.join(idle)}")
        left = iter(zip(gradients, variables, strict=True))
        for group, optimizer in zip(groups, optimizers, strict=True):
            optimizer.apply_gradients([next(left) for _ in group.variables])
        return value

    @tf.function(reduce_retracing=True)
    def step(batch: Any, number: Any, n_groups: Any) -> Any:
        return strategy.reduce("SUM", strategy.run(on_replica, args=(batch, number, n_groups)), axis=None)

    return step  # type: ignore[no-any-return]


def prediction_step(strategy: Any, reranker: Reranker) -> Step:
    """`step(batch) -> [scores [B, K] of each replica]`."""

    @tf.function(reduce_retracing=True)
    def step(batch: Any) -> Any:
        return strategy.run(reranker.scores, args=(batch,))

    return lambda batch: strategy.experimental_local_results(step(batch))
