"""The memory of a training, foretold: parts by hand, what changes them, the warning where the machine has less."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankcli.runs import memory
from rankcli.runs.memory import END, FULL, KEPT, PROGRAM, Lengths, Need, lengths_of, need_of, warn_of_memory
from rankcli.runs.plan import plan
from rankcli.runs.prepare import prepare
from rankcli.trainers.tensorflow import TensorflowTrainer

SIZE = "reranker.encoder={layers: 3, hidden: 16, heads: 2, intermediate: 32}"


def need(tiny, *overrides: str, reranker: str = "crossencoder") -> Need:
    run = prepare(tiny(reranker, SIZE, *overrides) if reranker != "TFKNRM" else tiny(reranker, *overrides))
    found = need_of(run.start.build(1, run.trainer.dtype), run.trainer, run.sets)
    assert found is not None
    return found


def test_a_step_holds_states_inner_states_and_attention_weights_of_every_layer(tiny, monkeypatch) -> None:
    """Of sequences of 24 and 10 tokens in a group, four groups a step."""
    monkeypatch.setattr(memory, "lengths_of", lambda each: Lengths(1, (24, 10)))
    monkeypatch.setattr(memory, "EVALBATCH", 1)
    states, inner, attended = KEPT
    of_tokens = 34 * (states * 16 + inner * 32) + attended * 2 * (24 * 24 + 10 * 10)
    run = prepare(tiny("crossencoder", SIZE, "trainer.batch=4"))
    model = run.start.build(1, "float32")
    found = need_of(model, run.trainer, run.sets)
    size = 4 * sum(v.numpy().size for v in model.variables.values())
    assert found == Need(PROGRAM, size, 2 * size, size, 4 * 3 * 4 * of_tokens, size + int(END * size / FULL))
    assert found.total == sum(found)
    assert found.line().startswith(f"memory: about {found.total / 1e9:.1f} GB at most (program 0.8, weights 0.0,")


def test_lengths_are_those_of_the_groups_that_are_drawn(tiny) -> None:
    """Of a bi-encoder, those of queries and documents: at most 6 and 16 tokens, and no padding."""
    run = prepare(tiny("biencoder"))
    found = lengths_of(run.sets["train"])
    assert found.groups == 8 and len(found.tokens) == 8 * (1 + 4) and set(found.tokens) <= set(range(3, 17))
    assert max(found.tokens) > 6


def test_what_changes_the_need(tiny, monkeypatch) -> None:
    monkeypatch.setattr(memory, "EVALBATCH", 1)
    plain = need(tiny)
    assert need(tiny, "trainer.batch=6").activations == pytest.approx(3 * plain.activations, abs=3)
    halved = need(tiny, "trainer.accumulate=2")
    assert halved.activations == pytest.approx(plain.activations / 2, abs=2)
    assert halved.gradients == 2 * plain.gradients
    assert need(tiny, "trainer.amp=bf16").activations == pytest.approx(0.6 * plain.activations, abs=2)
    assert need(tiny, "trainer.optimizer=sgd").optimizer == 0 < plain.optimizer == 2 * plain.weights
    groups = "{pattern: ^encoder/layer_2/, lr: 1}, {pattern: ^encoder/, freeze: true}, {pattern: ., lr: 1}"
    usual = [
        f"trainer.{name}={getattr(TensorflowTrainer, name)}" for name in ("bertlr", "lr")
    ]  # in place of the test's
    frozen = need(tiny, f"trainer.groups=[{groups}]", *usual)
    assert frozen.activations == pytest.approx(plain.activations / 3, abs=2)
    assert frozen.gradients < plain.gradients and frozen.weights == plain.weights
    assert need(tiny, reranker="TFKNRM").activations == 0


def test_a_test_of_large_batches_may_need_more_than_a_step(tiny) -> None:
    small, large = (need(tiny, f"trainer.evalbatch={size}").activations for size in (1, 5000))
    assert large > 1.4 * small > 0
    assert need(tiny, "trainer.evalbatch=500").activations == large  # more than all pairs are never computed at once


def test_encoding_queries_and_documents_apart_needs_more_at_the_end(tiny) -> None:
    found = need(tiny, reranker="biencoder")
    assert found.test - found.weights == int((END + memory.TOWERS) * found.weights / FULL)


def test_no_need_is_told_of_other_devices(tiny) -> None:
    run = prepare(tiny("TFKNRM", "trainer.strategy=mirrored"))
    assert need_of(run.start.build(1, "float32"), run.trainer, run.sets) is None


def test_a_machine_with_less_is_told_before_the_training(tiny, monkeypatch, capsys) -> None:
    monkeypatch.setattr(memory, "_held", lambda: 10**8)
    run = prepare(tiny())
    for free, told in [(10**8, True), (10**11, False), (None, False)]:
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        found = plan(run)
        assert (
            "warning: the training needs about 0.8 GB of memory, and 0.2 GB are there" in capsys.readouterr().err
        ) is told
        assert "memory: about 0.8 GB at most (program 0.8, " in found["text"]
        assert found["result"]["memory"]["bytes"] == sum(found["result"]["memory"]["parts"].values()) > 7e8
    warn_of_memory(None)


def test_what_is_free_is_what_the_machine_and_the_container_leave(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nMemFree:  1 kB\nMemAvailable:  7 kB\n")
    assert list(memory._of_machine(tmp_path / "meminfo")) == [7 * 1024]
    assert list(memory._of_machine(tmp_path / "none")) == [] == list(memory._of_group(tmp_path))
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 600\ninactive_file 50\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert list(memory._of_group(tmp_path)) == []
    (tmp_path / "memory.max").write_text("1000\n")
    assert list(memory._of_group(tmp_path)) == [1000 - 700 + 50]
    assert memory._held() > 50_000_000
