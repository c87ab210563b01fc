"""The turns of sentence-transformers, by the Python of an environment that has it, without rankcli."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import sentence_transformers
import torch
import transformers
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import ListNetLoss
from torch.utils.data import SequentialSampler

from benchmarks._matmul import matmul_turns
from benchmarks._turns import Turns

CERTAIN = 20.0  # a label that the softmax of ListNet makes all but 1: the loss is then the one that rankcli has


class Pace(transformers.TrainerCallback):
    """Stops training after every `steps` steps until it is this side's turn again; the first turn is before the first
    of them that counts.
    """

    def __init__(self, turns: Turns, steps: int) -> None:
        self._turns, self._steps, self._began = turns, steps, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Answer with the seconds of the turn."""
        if state.global_step % self._steps == 0:
            first = state.global_step == self._steps
            self._turns.answer(hello() if first else {"seconds": time.perf_counter() - self._began})
            control.should_training_stop = self._turns.wait() is None
            self._began = time.perf_counter()


def hello() -> dict[str, Any]:
    """The versions that compute."""
    modules = (sentence_transformers, torch, transformers)
    return {"versions": {m.__name__: m.__version__ for m in modules}, "threads": torch.get_num_threads()}


def train(turns: Turns) -> None:
    """Train on the groups of a file in their order, in turns of `turn` groups; the first one warms up."""
    task = turns.task
    fit(open_model(task), task, Pace(turns, task["turn"] // task["batch"]))


def quality(turns: Turns) -> None:
    """Train on all groups, then rerank a run."""
    task, start = turns.task, time.perf_counter()
    model = open_model(task)
    fit(model, task)
    seconds = time.perf_counter() - start
    rerank_run(model, task, task["output"])
    turns.answer({**hello(), "seconds": seconds})


def rerank(turns: Turns) -> None:
    """Rerank a run in every turn."""
    task = turns.task
    weights = torch.bfloat16 if task["precision"] == "bf16" else torch.float32
    model = open_model(task, dtype=weights)
    turns.answer(hello())
    while (turn := turns.wait()) is not None:
        start = time.perf_counter()
        pairs = rerank_run(model, task, turn["output"])
        turns.answer({"pairs": pairs, "seconds": time.perf_counter() - start})


def open_model(task: dict[str, Any], **model_options: Any) -> CrossEncoder:
    """The cross-encoder of a task; its tokenizer cuts at `maxseqlen`."""
    torch.set_num_threads(task["threads"])
    return CrossEncoder(
        task["model"], num_labels=1, max_length=task["maxseqlen"], device="cpu", model_kwargs=model_options
    )


def fit(model: CrossEncoder, task: dict[str, Any], *callbacks: Any) -> None:
    """Train a model on the groups of a file, each once, in their order."""
    rows = [json.loads(line) for line in Path(task["groups"]).read_text().splitlines()]
    columns = {name: [row[name] for row in rows] for name in ("query", "docs")}
    labels = [[CERTAIN * label for label in row["labels"]] for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        arguments = CrossEncoderTrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=task["batch"],
            num_train_epochs=1,
            learning_rate=task["lr"],
            warmup_steps=task["warmup"],
            weight_decay=task["weight_decay"],
            max_grad_norm=0.0,  # rankcli does not clip: to clip would be more work
            bf16=task["precision"] == "bf16",
            use_cpu=True,
            seed=task["seed"],
            batch_sampler=in_order,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = CrossEncoderTrainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_dict({**columns, "labels": labels}),
            loss=ListNetLoss(model, mini_batch_size=task["mini_batch"]),
            callbacks=list(callbacks),
        )
        trainer.train()


def in_order(dataset: Any, batch_size: int, drop_last: bool, **_: Any) -> DefaultBatchSampler:
    """Batches of the rows as they come."""
    return DefaultBatchSampler(SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last)


def rerank_run(model: CrossEncoder, task: dict[str, Any], output: str) -> int:
    """Score every line of a TREC run and write the run anew; how many lines there are."""
    docs, queries = read_texts(task["docs"]), read_texts(task["queries"])
    lines = [line.split() for line in Path(task["run"]).read_text().splitlines()]
    pairs = [(queries[qid], docs[docid]) for qid, _, docid, *_ in lines]
    identity = torch.nn.Identity()
    scores = model.predict(pairs, batch_size=task["evalbatch"], show_progress_bar=False, activation_fn=identity)
    by_query: dict[str, list[tuple[float, str]]] = {}
    for (qid, _, docid, *_), score in zip(lines, scores.tolist(), strict=True):
        by_query.setdefault(qid, []).append((score, docid))
    with open(output, "w") as file:
        for qid, found in by_query.items():
            for rank, (score, docid) in enumerate(sorted(found, reverse=True), 1):
                file.write(f"{qid} Q0 {docid} {rank} {score} peer\n")
    return len(lines)


def make(turns: Turns) -> None:
    """Write a sequence classifier of one label with random weights, of a configuration."""
    task = turns.task
    torch.manual_seed(0)
    classifiers: Any = transformers.AutoModelForSequenceClassification
    model = classifiers.from_config(transformers.AutoConfig.from_pretrained(task["source"]))
    for name, values in model.named_parameters():
        if name.endswith("bias"):  # a compiler drops what adds zeros, and with it what is fused with that
            torch.nn.init.normal_(values, std=0.02)
    model.save_pretrained(task["target"])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(task["source"], name), task["target"])
    turns.answer(hello())


def read_texts(path: str) -> dict[str, str]:
    """Texts by id of a JSONL file, title and text joined as rankcli joins them."""
    texts = {}
    with open(path) as file:
        for line in file:
            row = json.loads(line)
            texts[row["_id"]] = " ".join(part for part in (row.get("title"), row["text"]) if part)
    return texts


def matmul(turns: Turns) -> None:
    """Multiply matrices."""
    torch.set_num_threads(turns.task["threads"])

    def operands(rows: int, inner: int, columns: int, precision: str) -> tuple[Any, Any]:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)

    def product(left: Any, right: Any) -> Callable[[], Any]:
        def multiply() -> Any:
            with torch.inference_mode():
                return left @ right

        return multiply

    matmul_turns(turns, lambda *shape: product(*operands(*shape)))


if __name__ == "__main__":
    sides = {"train": train, "rerank": rerank, "quality": quality, "matmul": matmul, "make": make}
    given = Turns()
    sides[given.task["does"]](given)
