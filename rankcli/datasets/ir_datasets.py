"""A data set of the package ir_datasets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import DATASETS, option
from rankcli.data.irds import PREFIX
from rankcli.data.source import DatasetOptions, Source, SourceContext
from rankcli.datasets.files import Files


@DATASETS.register("ir_datasets")
@dataclass(frozen=True, kw_only=True)
class IrDatasets(DatasetOptions):
    """Documents, queries and judgments of one data set of https://ir-datasets.com, which the package downloads."""

    version: ClassVar[int] = 1
    id: str = option(help="its id there, for example `vaswani`")

    def build(self, ctx: SourceContext) -> Source:
        """Read the data set."""
        return Files(docs=f"{PREFIX}{self.id}").build(ctx)
