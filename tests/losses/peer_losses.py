"""Losses of sentence-transformers on given scores or vectors: run by the Python of an environment that has it.

    peer_losses.py CASES

CASES is a JSON file of {NAME: {scores, labels, teacher, query, docs}}, a group each. Prints {LOSS: {NAME: [value,
gradient]}}, the gradient of the scores, or of the documents' vectors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses
from sentence_transformers.sentence_transformer import losses as vectors


class Scores(CrossEncoder):
    """A cross-encoder whose documents are their scores."""

    num_labels, device = 1, torch.device("cpu")

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    def preprocess(self, pairs: Any, **_: Any) -> dict[str, Any]:
        return {"scores": torch.stack([score for _, score in pairs])}

    def forward(self, features: Any, **_: Any) -> Any:
        return features


class Vectors(torch.nn.Module):
    """A bi-encoder whose texts are their vectors."""

    def forward(self, features: Any) -> Any:
        return features


def listwise(loss: Any, case: Any, scores: Any, labels: str = "labels") -> Any:
    return loss([["q"], [list(scores)]], [torch.tensor(case[labels])])


def pointwise(loss: Any, case: Any, scores: Any) -> Any:
    return loss([["q"] * len(scores), list(scores)], torch.tensor(case["labels"]).clip(0, 1))


def margins(case: Any, scores: Any) -> Any:
    """Of the first document against the others."""
    columns = [["q"], *([score] for score in scores)]
    return losses.MarginMSELoss(Scores())(columns, torch.tensor([case["teacher"]]))


def on_scores(case: Any, scores: Any) -> dict[str, Any]:
    model = Scores()
    schemes = {
        "lambdarank": losses.LambdaRankScheme(),
        "ndcgloss2": losses.NDCGLoss2Scheme(),
        "ndcgloss2pp": losses.NDCGLoss2PPScheme(),
    }
    return {
        "bce": pointwise(losses.BinaryCrossEntropyLoss(model), case, scores),
        "mse": pointwise(losses.MSELoss(model), case, scores),
        "margin_mse": margins(case, scores),
        "listnet": listwise(losses.ListNetLoss(model), case, scores),
        "listmle": listwise(losses.ListMLELoss(model, respect_input_order=False), case, scores),
        "plistmle": listwise(losses.PListMLELoss(model, respect_input_order=False), case, scores),
        "ranknet": listwise(losses.RankNetLoss(model, reduction_log="natural"), case, scores),
        "adr_mse": listwise(losses.ADRMSELoss(model), case, scores, "teacher"),
        **{name: listwise(losses.LambdaLoss(model, scheme), case, scores) for name, scheme in schemes.items()},
    }


def on_vectors(case: Any, docs: Any) -> dict[str, Any]:
    query = torch.tensor([case["query"]])
    columns = [{"sentence_embedding": each} for each in (query, *docs[:, None])]
    pairs = [{"sentence_embedding": each} for each in (query.expand(len(docs), -1), docs)]
    labels, teacher = torch.tensor(case["labels"]), torch.tensor([case["teacher"]])
    distil = vectors.DistillKLDivLoss(Vectors(), temperature=2.0)
    return {
        "infonce": vectors.MultipleNegativesRankingLoss(Vectors(), scale=20.0)(columns, None),
        "contrastive": vectors.ContrastiveLoss(Vectors())(pairs, labels.clip(0, 1)),
        "kl": distil(columns, teacher),
    }


def found(compute: Any, case: Any, given: str) -> dict[str, Any]:
    """Value and gradient of each loss."""
    made = {}
    for name in compute(case, torch.tensor(case[given])):
        leaf = torch.tensor(case[given], requires_grad=True)
        value = compute(case, leaf)[name]
        value.backward()
        made[name] = [float(value), leaf.grad.tolist()]
    return made


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = json.loads(Path(sys.argv[1]).read_text())
    print(
        json.dumps(
            {name: found(on_scores, case, "scores") | found(on_vectors, case, "docs") for name, case in cases.items()}
        )
    )
