"""Rounds in which rankcli and its peer compute in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks._report import median, rounded
from benchmarks._turns import Contender
from rankcli.log import say

Turn = Callable[[Contender, str, int], dict[str, Any]]


def plain_turn(contender: Contender, _name: str, _number: int) -> dict[str, Any]:
    """A turn without arguments."""
    return contender.turn()


def alternate(contenders: Mapping[str, Contender], rounds: int, turn: Turn = plain_turn) -> list[dict[str, Any]]:
    """The measurements of each contender in each round; every round begins with another one."""
    found, names = [], sorted(contenders)
    for number in range(rounds):
        order = names[number % len(names) :] + names[: number % len(names)]
        found.append({name: turn(contenders[name], name, number) for name in order})
        spent = ", ".join(f"{name} {each.get('seconds', 0):.3g} s" for name, each in found[-1].items())
        say(f"round {number + 1} of {rounds}: {spent}")
    return found


def speeds(found: Mapping[str, Any], pairs: int, collection: str) -> dict[str, Any]:
    """Pairs per second of both sides in a round, and their ratio; and that of the processor seconds they took, which
    says about the same on a quiet machine, and says it on a busy one too.
    """
    ours, peer = found["rankcli"], found["peer"]
    return {
        "collection": collection,
        "rankcli_pairs_per_s": rounded(pairs / ours["seconds"]),
        "peer_pairs_per_s": rounded(pairs / peer["seconds"]),
        "ratio": rounded(peer["seconds"] / ours["seconds"]),
        "cpu_ratio": rounded(peer["cpu_seconds"] / ours["cpu_seconds"]),
    }


def ratio_of(rounds: list[dict[str, Any]], collection: str, key: str = "ratio") -> float:
    """The median ratio on a collection."""
    return median(each[key] for each in rounds if each["collection"] == collection)


def about_peer(peer: Contender) -> dict[str, Any]:
    """The peer's versions and threads."""
    return {key: peer.hello[key] for key in ("versions", "threads")}
