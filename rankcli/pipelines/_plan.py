"""What a run would do, for `--dry-run`: nothing is converted or trained."""

from __future__ import annotations

from typing import Any

from rankcli.config.render import marked
from rankcli.pipelines._prepare import Prepared
from rankcli.records.manifest import explain_miss
from rankcli.rerankers._base import RerankerContext
from rankcli.trainers._groups import groups_for


def plan(prepared: Prepared, folds: int = 1) -> dict[str, Any]:
    """The plan as `text`, and as `result` for machines."""
    config, trainer = prepared.config, prepared.config.trainer
    model = config.reranker.build(RerankerContext(prepared.extractor, trainer.seed, trainer.dtype, prepared.pretrained))
    groups = groups_for(model.variables, trainer.bertlr, trainer.lr)
    found = {
        "counts": dict(prepared.dataset.report),
        "folds": folds,
        "samples": {split: prepared.samples(split) for split in prepared.cache_ids},
        "steps": trainer.steps,
        "groups": [{"name": g.name, "pattern": g.pattern, "lr": g.lr, "parameters": g.parameters} for g in groups],
        "run_id": prepared.run_id,
        "cache": {split: _cache(prepared, split) for split in prepared.cache_ids},
    }
    return {"result": found, "text": _text(prepared, found)}


def _cache(prepared: Prepared, split: str) -> dict[str, Any]:
    manifest = prepared.cached(split)
    return {
        "cache_id": prepared.cache_ids[split],
        "hit": manifest is not None,
        "bytes": manifest.total_bytes if manifest else 0,
        "why": "" if manifest else explain_miss(prepared.storage, prepared.identity(split)),
    }


def _text(prepared: Prepared, found: dict[str, Any]) -> str:
    trainer, documents = prepared.config.trainer, prepared.config.sampler.group_size
    lines = ["options (* = not the default)", *marked(prepared.config), "", "data"]
    lines += [f"  {name}: {count}" for name, count in found["counts"].items()]
    lines += ["", f"training{_each(found)}"]
    lines += [
        f"  {trainer.niters} iterations of {trainer.steps_per_iter} steps of {trainer.batch} groups: "
        f"{found['steps']} steps, {found['samples']['train']} samples of {documents} documents",
        f"  queries to rerank: dev {found['samples']['dev']}, test {found['samples']['test']}",
    ]
    for group in found["groups"]:
        lines.append(f"  group {group['name']}: learning rate {group['lr']:g}, {group['parameters']:,} parameters")
    lines += ["", f"run id {found['run_id']}"]
    for split, cache in found["cache"].items():
        state = f"hit, {cache['bytes']:,} bytes" if cache["hit"] else f"miss; {cache['why'] or 'there is no other'}"
        lines.append(f"cache id {cache['cache_id']} ({split}): {state}")
    return "\n".join(lines)


def _each(found: dict[str, Any]) -> str:
    return f", for each of {found['folds']} folds" if found["folds"] > 1 else ""
