"""Clicks of users who are simulated from judgments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rankcli.data.clicks import Event, Session, Shown, line_of
from rankcli.data.files import check_apart, replacing
from rankcli.data.topics import read_judgments
from rankcli.data.trec import Qrels, ranking, read_run
from rankcli.errors import DataError
from rankcli.log import Progress

# the chance that a rank is looked at, by eye tracking; lower ranks have the last (Joachims et al., SIGIR 2005)
EXAMINATION = (0.68, 0.61, 0.48, 0.34, 0.28, 0.20, 0.11, 0.10, 0.08, 0.06)
_BLOCK = 4096  # sessions whose random numbers are drawn together


@dataclass(frozen=True)
class _User:
    """A click model: `theta` by place and the chance of a click on a document that is seen, by grade."""

    cascade: bool
    theta: npt.NDArray[np.float64]
    chances: dict[int, float]

    def clicks(self, grades: Sequence[int], draws: npt.NDArray[np.float64]) -> list[int]:
        """The places that are clicked; `draws` [2, K] decide what is seen and what attracts."""
        seen = [self.cascade or bool(draws[0, k] < self.theta[k]) for k in range(len(grades))]
        places = [k for k, grade in enumerate(grades) if seen[k] and draws[1, k] < self.chances[grade]]
        return places[:1] if self.cascade else places


def simulate(
    *,
    qrels: str,
    run: str,
    output: str | Path,
    sessions: int,
    model: Literal["pbm", "cascade"] = "pbm",
    eta: float = 1.0,
    noise: float = 0.1,
    depth: int = 10,
    randomised: float = 0.0,
    seed: int = 42,
) -> dict[str, Any]:
    """Write sessions of users who see the first `depth` documents of a run.

    Position-based: rank k is seen with the chance `EXAMINATION[k] ** eta`. Cascade: ranks are seen one after the other
    down to the first click. What is seen is clicked with the chance noise + (1 - noise)(2^grade - 1) / (2^highest - 1).
    A share `randomised` of the sessions shows the documents in random order.
    """
    check_apart(output, qrels, run)
    judged, shown = read_judgments(qrels), read_run(run)
    lists = [(qid, ranking(shown[qid])[:depth]) for qid in sorted(judged.keys() & shown.keys())]
    if not lists:
        raise DataError("no judged query is in the run", where=run, fix="check that the files belong together")
    user = _User(model == "cascade", examination(depth) ** eta, _chances(judged, noise))
    clicks = 0
    with replacing(output) as stream, Progress(sessions, "simulating", "sessions") as bar:
        for n, draws in enumerate(_draws(seed, sessions, depth)):
            qid, docids = lists[int(draws[0] * len(lists))]
            if draws[1] < randomised:
                docids = tuple([docids[k] for k in np.argsort(draws[2 : 2 + len(docids)])])
            grades = [max(0, judged[qid].get(docid, 0)) for docid in docids]
            found = user.clicks(grades, draws[2 + depth :].reshape(2, depth))
            clicks += len(found)
            places = tuple([Shown(docid, place) for place, docid in enumerate(docids, 1)])
            stream.write(line_of(Session(0, qid, places, tuple([Event(docids[k]) for k in found]), float(n))))
            bar.advance()
    result = {"output": str(output), "sessions": sessions, "clicks": clicks, "queries": len(lists)}
    return {"result": result, "text": f"{output}: {sessions} sessions of {len(lists)} queries, {clicks} clicks"}


def examination(depth: int) -> npt.NDArray[np.float64]:
    """The chances that ranks 1 to `depth` are looked at."""
    return np.array([EXAMINATION[min(k, len(EXAMINATION) - 1)] for k in range(depth)])


def _chances(judged: Qrels, noise: float) -> dict[int, float]:
    grades = {0} | {max(0, grade) for found in judged.values() for grade in found.values()}
    highest = 2.0 ** max(grades) - 1 or 1.0
    return {grade: noise + (1 - noise) * (2.0**grade - 1) / highest for grade in grades}


def _draws(seed: int, sessions: int, depth: int) -> Iterator[npt.NDArray[Any]]:
    """Numbers of 0 to 1 for each session, from the raw output of Philox, which NumPy promises not to change."""
    generator, width = np.random.Philox(key=seed), 2 + 3 * depth
    for start in range(0, sessions, _BLOCK):
        count = min(_BLOCK, sessions - start)
        raw = generator.random_raw(count * width)
        yield from ((raw >> np.uint64(11)) * 2.0**-53).reshape(count, width)
