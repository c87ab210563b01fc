"""Names of metrics: trec_eval's, `RR@k` and `ndcg_exp_cut_k`, and those of ir_measures that mean the same."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

RR = "RR@"  # MS MARCO's measure, which trec_eval lacks
NDCG_EXP = "ndcg_exp_cut_"  # with gains 2^grade - 1, as in learning to rank; trec_eval's gains are the grades
OURS = (RR, NDCG_EXP)
_PLAIN = (
    *("map", "ndcg", "recip_rank", "Rprec", "bpref", "infAP", "11pt_avg", "G", "binG", "Rndcg", "ndcg_rel"),
    *("set_P", "set_recall", "set_F", "set_map", "set_relative_P"),
)
_WITH_CUTOFF = ("ndcg_cut_", "map_cut_", "P_", "recall_", "success_", "relative_P_", *OURS)
_CUTOFF = "[1-9][0-9]{0,5}"
_LEGAL = re.compile(
    rf"{'|'.join(_PLAIN)}|(?:{'|'.join(_WITH_CUTOFF)}){_CUTOFF}|iprec_at_recall_(?:0\.[0-9][0-9]|1\.00)"
)
# names of ir_measures, in any case
_OTHERS = {"ap": "map", "map": "map", "rr": "recip_rank", "mrr": "recip_rank", "ndcg": "ndcg", "bpref": "bpref"}
_OTHERS_WITH_CUTOFF = {
    **{"ndcg": "ndcg_cut_", "ap": "map_cut_", "map": "map_cut_", "p": "P_", "r": "recall_", "recall": "recall_"},
    **{"rr": RR, "mrr": RR, "success": "success_"},
}
_OTHERS_WITH_LEVEL = {"iprec": "iprec_at_recall_"}
_NONE_ALIKE = ("err", "gm_map", "gm_bpref", "rbp")  # their nearest names compute something else

FIX = (
    f"use trec_eval's names: {', '.join((*_PLAIN, *(f'{stem}K' for stem in _WITH_CUTOFF), 'iprec_at_recall_0.10'))}; "
    "or those of ir_measures: nDCG@K, P@K, R@K, AP, RR, IPrec@0.1"
)


def depth_of(metric: str) -> int | None:
    """Return the number of first documents that a metric reads; None if it reads all."""
    found = re.fullmatch(rf"(?:{'|'.join(_WITH_CUTOFF)})({_CUTOFF})", metric)
    return int(found[1]) if found else None


def examples() -> list[str]:
    """Return the name of every measure, with the cutoff 10 where it has one."""
    return [*_PLAIN, *(f"{stem}10" for stem in _WITH_CUTOFF), "iprec_at_recall_0.10"]


def canonical(name: str) -> str:
    """Return trec_eval's name for a metric of ir_measures, such as `ndcg_cut_10` for `nDCG@10`; else `name`."""
    stem, at, cutoff = name.lower().partition("@")
    if at and stem in _OTHERS_WITH_CUTOFF and re.fullmatch(_CUTOFF, cutoff):
        return f"{_OTHERS_WITH_CUTOFF[stem]}{cutoff}"
    if at and stem in _OTHERS_WITH_LEVEL and re.fullmatch(r"0?\.[0-9]{1,2}|1(\.0+)?", cutoff):
        return f"{_OTHERS_WITH_LEVEL[stem]}{float(cutoff):.2f}"
    return name if _LEGAL.fullmatch(name) else _OTHERS.get(name.lower(), name)


def canonical_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return `canonical` of every name, each once."""
    return tuple(dict.fromkeys(map(canonical, names)))


def unknown_names(names: Iterable[str]) -> str:
    """Name the metrics that cannot be computed, each with the nearest legal name; an empty text if there are none."""
    return "; ".join(_unknown(name) for name in names if not _LEGAL.fullmatch(name))


def checked_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return `canonical_names`; ValueError for unknown metrics."""
    found = canonical_names(names)
    if unknown := unknown_names(found):
        raise ValueError(f"{unknown} ({FIX})")
    return found


def _unknown(name: str) -> str:
    """The message for one unknown name; a name with a cutoff is compared only with measures that have one."""
    stem, cutoff = re.fullmatch(rf"(.*?)(?:[@_.]?({_CUTOFF}))?", name, re.DOTALL).groups()  # type: ignore[union-attr]
    if found := re.fullmatch(r"iprec_at_recall_(0\.[0-9]|1|1\.0)", name):
        return f"unknown metric {name!r}; did you mean 'iprec_at_recall_{float(found[1]):.2f}'?"
    meant = {legal.lower().rstrip("_@"): f"{legal}{cutoff or 10}" for legal in _WITH_CUTOFF}
    if not cutoff:
        meant.update((legal.lower(), legal) for legal in _PLAIN)
    (close, *_) = difflib.get_close_matches(stem.lower(), [*meant, *_NONE_ALIKE], n=1) or [""]
    return f"unknown metric {name!r}" + (f"; did you mean {meant[close]!r}?" if close in meant else "")
