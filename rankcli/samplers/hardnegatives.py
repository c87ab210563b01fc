"""Groups of mined negatives, from a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from rankcli import log
from rankcli.config.registry import SAMPLERS, option
from rankcli.config.types import NonNegativeFloat, PositiveInt
from rankcli.data.mined_rows import MinedRow, read_mined
from rankcli.errors import DataError
from rankcli.samplers._draw import GROUP, ORDER, Draws, permutation
from rankcli.samplers._mined import relevant_to
from rankcli.samplers._negatives import Listed, Places, available, choices, draw_from
from rankcli.samplers.base import Sampler, SamplerContext, SamplerOptions
from rankcli.samplers.guards import Guards
from rankcli.shapes import Sample

TEACHER = "teacher"


@dataclass(frozen=True)
class _HardNegatives:
    rows: tuple[MinedRow, ...]
    options: HardNegatives
    seed: int
    taught: bool

    def __call__(self, n: int) -> Sample:
        turn, place = divmod(n, len(self.rows))
        row = self.rows[int(permutation(self.seed, ORDER, turn, len(self.rows))[place])]
        draws = Draws(self.seed, GROUP, n, 1 + choices(self.options.nneg, len(row.lists)))
        positive = row.positives[draws.below(len(row.positives))]
        barred = self.options.bounds.barred(row.scores, (positive,))
        negatives = draw_from(self.options.sources(row), barred, draws, self.options.nneg)
        docids = (positive, *negatives)
        columns = {TEACHER: tuple([row.scores[docid] for docid in docids])} if self.taught else {}
        return Sample(row.qid, docids, (1.0,) + (0.0,) * len(negatives), columns)


@SAMPLERS.register("hardnegatives")
@dataclass(frozen=True, kw_only=True)
class HardNegatives(SamplerOptions):
    """A relevant document of a row of a file, drawn uniformly, then `nneg` of its negatives; every row once per pass.

    Each negative comes from one of the row's lists that have one left, in proportion to the weights of `lists`, all
    documents of that list being equally likely; none comes twice, and none that is judged relevant. A row with fewer
    negatives gives a smaller group. Rows of queries that are not in the training split are left out, and rows that have
    no negative within the bounds. Scores in the rows are the column `teacher`.
    """

    version: ClassVar[int] = 1
    file: str = option(help="JSONL of {query, pos, neg}, with ids; neg is a list, or lists by name", path="file")
    nneg: PositiveInt = option(7, "negatives per group")
    lists: dict[str, NonNegativeFloat] | None = option(
        None, "weights of the lists of negatives by name; default: all lists alike"
    )
    bounds: Guards = option(Guards(), "bounds on the scores of negatives in the rows")

    @property
    def gives(self) -> tuple[str, ...]:
        """The scores of the rows."""
        return (TEACHER,)

    @property
    def group_size(self) -> int:
        """The documents of a group, at most."""
        return 1 + self.nneg

    @property
    def depth(self) -> int:
        """0: it reads no candidates."""
        return 0

    def sources(self, row: MinedRow) -> list[tuple[float, Places]]:
        """The lists of a row with their weights."""
        weights = self.lists or dict.fromkeys(row.lists, 1.0)
        return [(weights.get(name, 0.0), Listed.of(docids)) for name, docids in row.lists.items()]

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the rows of training queries; DataError without any that can be drawn from."""
        training, qids = [], set(ctx.judged.qids)
        for row in read_mined(self.file):
            self._check(row, ctx)
            if row.qid in qids:
                training.append(row)
        self._check_names(training)
        rows = tuple(row for row in (self._cleaned(row, ctx) for row in training) if row.positives)
        if not rows:
            what = "no row has a training query, a relevant document and a negative within the bounds"
            raise DataError(what, where=self.file, fix="check the ids of queries, sampler.lists and sampler.bounds")
        if len(rows) < len(training):
            log.warn(
                f"{self.file}: {len(training) - len(rows)} of {len(training)} rows have no negative that may be drawn"
            )
        return _HardNegatives(rows, self, ctx.seed, TEACHER in ctx.columns)

    def _cleaned(self, row: MinedRow, ctx: SamplerContext) -> MinedRow:
        """The row with negatives that are not relevant, and relevant documents beside which there is one of them."""
        relevant = relevant_to(ctx.judged, row.qid, ctx.relevance_level).union(row.positives)
        lists = {name: tuple([d for d in docids if d not in relevant]) for name, docids in row.lists.items()}
        sources = self.sources(row := row._replace(lists=lists))
        usable = [d for d in row.positives if available(sources, self.bounds.barred(row.scores, (d,)))]
        return row._replace(positives=tuple(usable))

    def _check(self, row: MinedRow, ctx: SamplerContext) -> None:
        """Refuse a row without the scores that somebody reads."""
        if not row.scores and (TEACHER in ctx.columns or self.bounds.guarded):
            reader = "the bounds compare" if self.bounds.guarded else "the loss reads"
            fix = "give scores in all rows (scores, or pos_scores and neg_scores)"
            raise DataError(f"the row has no scores, which {reader}", where=f"{self.file}:{row.line}", fix=fix)

    def _check_names(self, rows: Iterable[MinedRow]) -> None:
        """Refuse names of lists that no row has."""
        known = {name for row in rows for name in row.lists}
        if absent := sorted(set(self.lists or ()) - known):
            what = f"no row of a training query has the list {absent[0]!r}"
            raise DataError(what, where=self.file, fix=f"there are: {', '.join(sorted(known)) or 'none'}")
