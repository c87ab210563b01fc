"""The plan of a run for `--dry-run`. Nothing is converted or trained."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rankcli.chips.figures import Slice
from rankcli.config.registry import SCHEDULES
from rankcli.runs.estimate import minutes
from rankcli.runs.foretold import foretell
from rankcli.runs.lookups import described_lookups, encoded_first, looked_up
from rankcli.runs.memory import Need, need_of, warn_of_memory
from rankcli.runs.prepare import Prepared
from rankcli.runs.records import RecordSets
from rankcli.runs.sets import TRAIN, RankedSet, RecordSet
from rankcli.training.groups import Group, groups_for

WIDTH = 100  # columns of text


def plan(run: Prepared, folds: int = 1, chip: Slice | None = None, largest: bool = False) -> dict[str, Any]:
    """Return the plan as `text`, and as `result` for programs.

    With `chip` the steps are compiled for it, and with `largest` also the largest batch that fits is searched for.
    """
    trainer, sets = run.trainer, run.sets
    model = run.start.build(trainer.seed, trainer.dtype)
    ranked = {name: each for name, each in sets.items() if isinstance(each, RankedSet)}
    need = need_of(model, trainer, sets)
    found = {
        "counts": dict(run.dataset.report),
        "folds": folds,
        "samples": {name: each.samples for name, each in sets.items()},
        "reranked": {
            name: {"queries": each.samples, "depth": each.depth, "pairs": each.pairs} for name, each in ranked.items()
        },
        "steps": trainer.steps,
        "initial": run.start.initialise(model),
        "groups": [_group(group, trainer) for group in groups_for(model.variables, trainer)],
        "run_id": run.identity.run_id,
        "cache": {name: _cache(sets, name) for name in sets},
        "memory": need and {"bytes": need.total, "parts": need._asdict()},
        "vectors": (vectors := looked_up(run.caches, model, run.start.extractor, sets.values())),
        "encoded_first": (first := encoded_first(vectors, model)),
        "minutes": minutes(model, run.start.reranker.listwise, trainer, ranked, sets.pairs, first),
    }
    warn_of_memory(need)
    text = _text(run.about.options, trainer, sets.of(TRAIN).values(), found)
    if chip is None:
        return {"result": found, "text": text}
    there = foretell(run, chip, largest)
    return {"result": {**found, "chip": there.facts}, "text": f"{text}\n\n{there.text}"}


def _group(group: Group, trainer: Any) -> dict[str, Any]:
    """Describe an optimizer group. `weight_decay` is that of its variables that have one."""
    schedule = group.options.schedule or trainer.schedule
    return {
        "name": group.name,
        "pattern": group.pattern,
        "lr": group.lr,
        "layers": sorted({member.scale for member in group.members.values()}),
        "weight_decay": max(member.weight_decay for member in group.members.values()),
        "schedule": SCHEDULES.name_of(schedule) if schedule else trainer.decaytype,
        "frozen": group.options.freeze,
        "unfreeze_at": group.options.unfreeze_at,
        "parameters": group.parameters,
    }


def _cache(sets: RecordSets, name: str) -> dict[str, Any]:
    manifest = sets.cached(name)
    return {
        "cache_id": sets.cache_ids[name],
        "hit": manifest is not None,
        "bytes": manifest.total_bytes if manifest else 0,
        "why": "" if manifest else sets.why_missed(name),
    }


def _text(options: Sequence[str], trainer: Any, drawn: Iterable[RecordSet], found: dict[str, Any]) -> str:
    lines = ["options that are not the default", *(f"  {line}" for line in options), "", "data"]
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found["counts"].items())
    lines += textwrap.wrap(counts, WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines += ["", f"training{_each(found)}"]
    lines += [
        *_steps(trainer, drawn),
        *(f"  {name}: {_reranked(count)} to rerank" for name, count in found["reranked"].items()),
    ]
    lines += [f"  {found['initial']}"] if found["initial"] else []
    lines += [f"  group {group['name']!r}: {_described(group)}" for group in found["groups"]]
    if found["minutes"] is not None:
        what = "" if found["encoded_first"] is None else " to encode texts before the first step"
        lines.append(f"  about {_time(found['minutes'])}{what} on this machine, from the speed of a few pairs")
    if found["memory"]:
        lines.append(f"  {Need(**found['memory']['parts']).line()}")
    lines += ["", f"records of run {found['run_id']}"]
    lines += [f"  {name}: {_kept(cache)}" for name, cache in found["cache"].items()]
    lines += described_lookups(found["vectors"])
    return "\n".join(lines)


def _kept(cache: Mapping[str, Any]) -> str:
    if cache["hit"]:
        return f"cached, {cache['bytes']:,} bytes"
    return f"not cached, will be converted; {cache['why']}".removesuffix("; ")


def _time(found: float) -> str:
    if found < 1:
        return "a minute"
    return f"{found:.0f} minutes" if found < 120 else f"{found / 60:.0f} hours"


def _steps(trainer: Any, drawn: Iterable[RecordSet]) -> list[str]:
    if not trainer.steps:
        return ["  no iteration: the model is tested as it is"]
    head = f"  {trainer.niters} iterations of {trainer.steps_per_iter} steps: {trainer.steps} steps"
    return [head, *(_trained(each, trainer.steps) for each in drawn)]


def _trained(each: RecordSet, steps: int) -> str:
    groups = f"{each.samples // steps} groups of {each.group_size} documents a step"
    return f"  {each.name}: {groups}, {each.samples} samples"


def _reranked(count: Mapping[str, int]) -> str:
    return f"{count['queries']} queries, at most {count['depth']} candidates of each: {count['pairs']:,} pairs"


def _described(group: dict[str, Any]) -> str:
    count = f"{group['parameters']:,} parameters"
    if group["frozen"]:
        return f"frozen, {count}"
    pattern = "" if group["pattern"] == group["name"] else f"pattern {group['pattern']!r}, "
    layers = f" (times {group['layers'][0]:.3g} to {group['layers'][-1]:.3g} by layer)" if group["layers"][1:] else ""
    start = f", from iteration {group['unfreeze_at'] + 1} on" if group["unfreeze_at"] else ""
    return (
        f"{pattern}learning rate {group['lr']:g}{layers}, {group['schedule']}{start}, "
        f"weight decay {group['weight_decay']:g}, {count}"
    )


def _each(found: dict[str, Any]) -> str:
    return f", for each of {found['folds']} folds" if found["folds"] > 1 else ""
