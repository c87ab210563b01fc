"""Several samplers in turn."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, ClassVar

from rankcli.config.registry import SAMPLERS, components, option
from rankcli.config.types import PositiveInt
from rankcli.samplers._draw import MIXTURE, permutation
from rankcli.samplers.base import Sampler, SamplerContext, SamplerOptions
from rankcli.shapes import Sample


@dataclass(frozen=True)
class _Mixture:
    samplers: tuple[Sampler, ...]
    shares: tuple[int, ...]
    seed: int

    def __call__(self, n: int) -> Sample:
        ends = list(accumulate(self.shares))
        block, place = divmod(n, ends[-1])
        slot = int(permutation(self.seed, MIXTURE, block, ends[-1])[place])
        which = bisect_right(ends, slot)
        share = self.shares[which]
        return self.samplers[which](block * share + slot - ends[which] + share)


@SAMPLERS.register("mixture")
@dataclass(frozen=True, kw_only=True)
class Mixture(SamplerOptions):
    """Samples of several samplers: of every sum of `shares` samples each has exactly its share, in random order.

    Every sampler is asked for its samples 0, 1, 2, ..., with a seed of its own, as if it were alone; so what it says of
    a pass holds for its own samples. Columns are those that all of them give.
    """

    version: ClassVar[int] = 1
    samplers: Any = components(SAMPLERS, "two samplers or more")
    shares: tuple[PositiveInt, ...] = option((), "whole numbers, one per sampler, such as [3, 1]; default: 1 each")

    def __post_init__(self) -> None:
        if len(self.samplers) < 2:
            raise ValueError("samplers must be two or more")
        if self.shares and len(self.shares) != len(self.samplers):
            raise ValueError(f"shares must have a number for each of the {len(self.samplers)} samplers")

    @property
    def gives(self) -> tuple[str, ...]:
        """The columns that all samplers give."""
        first, *others = self.samplers
        return tuple(name for name in first.gives if all(name in other.gives for other in others))

    @property
    def draws_docs(self) -> bool:
        """True if one of the samplers draws from the whole collection."""
        return any(each.draws_docs for each in self.samplers)

    @property
    def group_size(self) -> int:
        """The documents of the largest group."""
        return max(int(each.group_size) for each in self.samplers)

    @property
    def depth(self) -> int | None:
        """The last rank that one of the samplers reads; None for all."""
        depths = [each.depth for each in self.samplers]
        return None if None in depths else max(depths)

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the queries of `ctx`."""
        built = tuple(each.build(own) for each, own in zip(self.samplers, _contexts(ctx), strict=False))
        return _Mixture(built, self.shares or (1,) * len(built), ctx.seed)


def _contexts(ctx: SamplerContext) -> Iterator[SamplerContext]:
    """The context with another seed for each sampler."""
    seed = ctx.seed
    while True:
        yield replace(ctx, seed=seed)
        seed += 0x9E3779B97F4A7C15  # far from the seeds that people choose
