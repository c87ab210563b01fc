"""The test of a finished run, read from its run directory: judgments, runs and measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rankcli.config.schema import RunConfig
from rankcli.data.trec import CompactRun, Qrels, read_qrels, read_run
from rankcli.errors import ConfigError, MissingError
from rankcli.runs.about import Measures
from rankcli.runs.outcome import QRELS, RUNS
from rankcli.runs.written import CONFIG, RESULT, RUN, read_config, read_result
from rankcli.storage.base import is_remote
from rankcli.storage.inputs import local_tree

CONFIGS = (CONFIG, f"fold-0/{CONFIG}")  # of one run, or of a directory of all folds
RUN_FILES = (RUN, f"fold-0/{RUN}")


@dataclass(frozen=True)
class Tested:
    """The run directory `said`, with its files in `folder`."""

    said: str
    folder: Path

    @property
    def config(self) -> RunConfig:
        """The config of the run, or of the first of its folds."""
        found = (self.folder / name for name in CONFIGS if (self.folder / name).is_file())
        path = next(found, None)
        if path is None:
            raise MissingError(f"there is no {CONFIG}", where=self.said, fix="give a directory of `rankcli train`")
        return read_config(path.parent)

    @property
    def measures(self) -> Measures:
        """The metrics of the run, and its lowest relevant grade."""
        config = self.config
        return Measures(config.metrics, config.data.relevance_level)

    def qrels(self) -> Qrels:
        """Read the judgments of the test queries."""
        return read_qrels(self.folder / QRELS)

    @property
    def stages(self) -> list[str]:
        """The stages of the test; `mixed` is one where there is a mixture."""
        splits = read_result(self.folder, self.said, files=())["splits"]
        return [stage for stage in RUNS if stage != "mixed" or stage in splits.get("test", {})]

    def run(self, stage: str) -> CompactRun:
        """Read the test run of a stage: `first_stage`, `reranked`, `interpolated` or `mixed`."""
        return read_run(self.folder / RUNS[stage])

    def path(self, stage: str) -> Path:
        """Return the path of the test run of a stage."""
        return self.folder / RUNS[stage]


def find_tested(said: str) -> Tested:
    """Resolve a run directory, also one of all folds and one in a bucket.

    ConfigError if there is no such directory, MissingError if its run is not finished.
    """
    wanted = (*CONFIGS, *RUN_FILES, RESULT, QRELS, *RUNS.values())
    folder = local_tree(said.rstrip("/"), wanted) if is_remote(said) else Path(said).expanduser()
    if not folder.is_dir():
        raise ConfigError("no such directory", where=said, fix="give a directory of `rankcli train`")
    for name in (RESULT, QRELS):
        if not (folder / name).is_file():
            fix = "train it to the end, or give --qrels and --run instead"
            raise MissingError(f"there is no {name}: this is no finished run", where=said, fix=fix)
    read_result(folder, said, files=(QRELS, *RUNS.values()))
    return Tested(said, folder)
