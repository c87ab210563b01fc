"""The groups of another sampler with a teacher's scores, read from a run file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rankcli.api import SAMPLERS, Sample, Sampler, SamplerContext, SamplerOptions, component, option, read_run


@dataclass(frozen=True)
class _Taught:
    base: Sampler
    scores: Mapping[str, Mapping[str, float]]

    def __call__(self, n: int) -> Sample:
        sample = self.base(n)
        known = self.scores.get(sample.qid, {})
        teacher = tuple(known.get(docid, 0.0) for docid in sample.docids)
        return replace(sample, columns={**sample.columns, "teacher": teacher})


@dataclass(frozen=True, kw_only=True)
class Taught(SamplerOptions):
    """Adds the column `teacher`; a document that the teacher has not scored has 0."""

    version: ClassVar[int] = 1
    gives: ClassVar[tuple[str, ...]] = ("teacher", "first_stage")
    scores: str = option(help="a TREC run with the teacher's scores", path="file")
    base: Any = component(SAMPLERS, "LCE", "the sampler that draws the groups")

    @property
    def group_size(self) -> int:
        return int(self.base.group_size)

    @property
    def depth(self) -> int | None:
        found: int | None = self.base.depth
        return found

    def build(self, ctx: SamplerContext) -> Sampler:
        columns = ctx.columns - {"teacher"}
        return _Taught(self.base.build(replace(ctx, columns=columns)), read_run(self.scores))
