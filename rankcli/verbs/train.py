"""Train one run, or one per fold, and measure it on the test queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rankcli.chips.compile import check_compiler
from rankcli.chips.figures import Slice
from rankcli.config.schema import RunConfig
from rankcli.evaluation.report import split_table, stages_text
from rankcli.listeners.base import DEV
from rankcli.listeners.team import chosen
from rankcli.log import collecting_warnings
from rankcli.runs.folds import configs_of_folds, run_folds
from rankcli.runs.hosts import common_directory, hosts_of
from rankcli.runs.plan import plan
from rankcli.runs.prepare import checked
from rankcli.runs.single import run_once
from rankcli.storage.mirror import Mirror
from rankcli.storage.places import local_root


def train(
    config: RunConfig,
    *,
    out: str | Path,
    overwrite: bool = False,
    dry_run: bool = False,
    chip: str | None = None,
    largest_batch: bool = False,
) -> dict[str, Any]:
    """Train a config into `out`, a directory on disk or a `gs://` URI.

    A dry run compiles the steps for the TPU called `chip`, if given; `largest_batch` finds the largest batch for it.

    Returns `text` for people and `result`, the content of `result.json` (or the plan).
    """
    target = Slice.of(chip) if chip else None
    if target:
        check_compiler()
        config = _on_tpu(config)
    mirror = Mirror(out, local_root(config.trainer.storage))
    mirror.check()
    # so that wrong options raise an error before any work
    chosen(config.trainer, [DEV, *(config.data.devsets or {})], config.metrics)
    folds = configs_of_folds(config)
    if dry_run:
        return plan(checked(folds[0] if folds else config), len(folds) or 1, target, largest_batch)
    hosts = hosts_of(config.trainer.strategy)
    with hosts.together(), collecting_warnings():
        first = checked(folds[0] if folds else config)
        with common_directory(hosts, mirror, overwrite) as directory:
            result = run_folds(config, folds, first, directory, hosts) if folds else run_once(first, directory, hosts)
    return {"result": result, "text": _text(result, mirror.uri)}


def _on_tpu(config: RunConfig) -> RunConfig:
    """Return the config with the options of a run on a TPU, which decide its precision."""
    trainer = replace(config.trainer, strategy="tpu", tpuname=config.trainer.tpuname or "local")
    return replace(config, trainer=trainer)


def _text(result: Mapping[str, Any], out: str) -> str:
    parts = [f"{split}\n{split_table(found)}" for split, found in result["splits"].items()]
    if result.get("stopped"):
        parts.append(f"stopped early, after iteration {result['stopped']['iter']}: {result['stopped']['why']}")
    mixtures = result.get("mixture") or []
    for each in mixtures if isinstance(mixtures, list) else [mixtures]:
        parts.append(f"mixture: {each['said']}")
        if each.get("stages"):
            parts.append(f"{each['metric']} by cross-validation over its queries\n{stages_text(each['stages'])}")
    if errors := {stage: each["error"] for stage, each in result.get("probability", {}).items()}:
        listed = ", ".join(f"{stage} {error:.4f}" for stage, error in errors.items())
        parts.append(f"expected calibration error of probabilities: {listed}")
    parts.append(
        f"alpha (weight of the reranker, chosen on dev): {result['alpha']}\n{_trained(result)}; run directory: {out}"
    )
    return "\n\n".join(parts)


def _trained(result: Mapping[str, Any]) -> str:
    if not result["train_seconds"]:
        return "nothing was trained"
    return f"trained {result['train_seconds']:.0f} s at {result['pairs_per_second']:.1f} pairs/s"
