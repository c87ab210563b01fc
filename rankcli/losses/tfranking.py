"""The losses of TensorFlow Ranking, by key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf, tfr
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.log import warn
from rankcli.losses.base import FLOOR, Loss, LossOptions, masked
from rankcli.shapes import Batch, Outputs, StepContext

# The temperature of each key (None: it has none). Set here because TensorFlow Ranking's own defaults changed between
# releases.
TEMPERATURES: dict[str, float | None] = {
    "approx_mrr_loss": 0.1,
    "approx_ndcg_loss": 0.1,
    "coupled_rankdistil_loss": 1.0,
    "gumbel_approx_ndcg_loss": 0.1,
    "list_mle_loss": 1.0,
    "mean_squared_loss": None,
    "pairwise_hinge_loss": 1.0,
    "pairwise_logistic_loss": 1.0,
    "pairwise_mse_loss": 1.0,
    "pairwise_soft_zero_one_loss": 1.0,
    "sigmoid_cross_entropy_loss": None,
    "softmax_loss": 1.0,
    "unique_softmax_loss": 1.0,
    "yeti_logistic_loss": 0.1,
}
# Their padding has the score log(1e-10), which is neutral only far below all real scores.
LIFTED = {"coupled_rankdistil_loss", "list_mle_loss", "softmax_loss"}
RANDOM = {"coupled_rankdistil_loss", "gumbel_approx_ndcg_loss", "list_mle_loss", "yeti_logistic_loss"}


@LOSSES.register("tfr")
@dataclass(frozen=True, kw_only=True)
class TFRanking(LossOptions):
    """Any loss of TensorFlow Ranking.

    A loss of tf-ranking 0.5, summed over the group's documents or pairs (`tfr:approx_ndcg_loss` for short).

    Source: Pasumarthi et al., "TF-Ranking" (KDD 2019). Padding is made neutral, which it is not there: scores are moved
    to 0 and above for softmax and ListMLE, and the places of padding are taken out of ListMLE. Its ListMLE is infinite
    where scores of a group are more than 88 apart; `listmle` is not, and draws no random numbers. The column `weight`
    is not used.
    """

    version: ClassVar[int] = 2
    min_docs: ClassVar[int] = 2
    weighted: ClassVar[bool] = False
    key: str = option(help="a key of tfr.keras.losses, for example softmax_loss")
    temperature: PositiveFloat | None = option(
        None, "divides the scores; default: 0.1 for approx, gumbel and yeti keys, else 1"
    )

    def __post_init__(self) -> None:
        if self.key not in TEMPERATURES:
            raise ValueError(f"unknown tf-ranking loss {self.key!r} (there are: {', '.join(sorted(TEMPERATURES))})")
        if self.temperature is not None and TEMPERATURES[self.key] is None:
            raise ValueError(f"{self.key} has no temperature")

    def build(self) -> Loss:
        """Return the loss function."""
        if self.key in RANDOM:
            warn(
                f"{self.key} draws random numbers from TensorFlow's own state: a resumed run will not be bit-identical"
            )
        temperature = self.temperature or TEMPERATURES[self.key]
        settings = {} if temperature is None else {"temperature": temperature}
        per_list = tfr.keras.losses.get(self.key, reduction=tf.keras.losses.Reduction.NONE, **settings)

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            scores = tf.cast(outputs.scores, tf.float32)
            if self.key in LIFTED:
                scores -= tf.stop_gradient(tf.reduce_min(masked(batch, scores, -FLOOR), axis=1, keepdims=True))
            # tf-ranking recognises padding by a negative label. Losses that sample return several rows per group, in
            # group order.
            values = per_list(masked(batch, batch.labels, -1.0), masked(batch, scores))
            summed = tf.reduce_sum(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1)
            found = tf.reduce_mean(tf.reshape(summed, [tf.shape(scores)[0], -1]), axis=1)
            return found - _of_padding(batch) if self.key == "list_mle_loss" else found

        return loss


def _of_padding(batch: Batch) -> Any:
    """Return the ListMLE loss of each group's padding, which has equal scores and comes last: log of n! for n places.

    All of it is 0 for a group that only pads.
    """
    padding = tf.reduce_sum(tf.cast(tf.logical_not(batch.doc_mask), tf.float32), axis=1)
    return tf.math.lgamma(padding + 1.0)
