"""Two hosts, as processes that talk over loopback: what they train, what they score, and how they end."""

from __future__ import annotations

import collections
import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.data.trec import read_run
from tests.conftest import write_collection
from tests.training.hosts import Cluster, Done, cluster

CONFIG = """\
data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}
reranker: {name: crossencoder, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}
extractor: {name: passage, maxseqlen: 24, maxqlen: 6, vocab_size: 60}
sampler: {name: LCE, nneg: 3}
trainer: {batch: 4, niters: 3, itersize: 24, bertlr: 1e-3, lr: 1e-2, threshold: 10, testthreshold: 20, evalbatch: 8}
"""
LAST = "checkpoints/iter-00003/ckpt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("hosts")
    write_collection(found)
    (found / "config.yaml").write_text(CONFIG)
    return found


@pytest.fixture(scope="module")
def machines(folder: Path) -> Iterator[Cluster]:
    with cluster(folder) as found:
        yield found


def train(folder: Path, out: str, strategy: str = "multiworker") -> tuple[str, ...]:
    return (
        "train",
        "--config",
        str(folder / "config.yaml"),
        "--out",
        str(folder / out),
        f"trainer.strategy={strategy}",
    )


def noted(path: Path) -> collections.Counter[str]:
    return collections.Counter(path.read_text().splitlines())


def tensors(out: Path) -> dict[str, Any]:
    """The values of the last checkpoint, by name."""
    reader = tf.train.load_checkpoint(str(out / LAST))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if "GRAPH" not in name}


@pytest.fixture(scope="module")
def whole(folder: Path, machines: Cluster) -> list[Done]:
    """A training that nothing disturbed, in `whole`."""
    own = {index: {"NOTED": str(folder / f"noted-{index}")} for index in range(2)}
    return machines.run(*train(folder, "whole"), own=own)


def test_two_hosts_train_and_score_as_two_devices_of_one(folder: Path, machines: Cluster, whole: list[Done]) -> None:
    assert [done.code for done in whole] == [0, 0], whole
    machines.one(*train(folder, "mirrored", "mirrored"), CPUS="2", NOTED=str(folder / "noted-mirrored"))
    (mirrored,) = machines.wait()
    assert mirrored.code == 0, mirrored
    first, other = tensors(folder / "whole"), tensors(folder / "mirrored")
    assert first.keys() == other.keys() and len(first) > 30
    for name, value in first.items():
        np.testing.assert_allclose(value, other[name], atol=1e-4, err_msg=name)
    # Every pair once per pass, whoever scores it; a host that scores all, or none, would be none.
    on_hosts = [noted(folder / f"noted-{index}") for index in range(2)]
    assert on_hosts[0] + on_hosts[1] == noted(folder / "noted-mirrored")
    assert not on_hosts[0].keys() & on_hosts[1].keys() and all(on_hosts)
    # Only the first host leaves something, but for what both have cached.
    assert "checkpoints" in {path.name for path in (folder / "whole").iterdir()}
    assert not list((folder / "cache/runs").iterdir())
    results = [json.loads((folder / out / "result.json").read_text()) for out in ("whole", "mirrored")]
    assert results[0]["run_id"] == results[1]["run_id"]
    for split in ("dev", "test"):
        for metric, value in results[1]["splits"][split]["first_stage"].items():
            assert results[0]["splits"][split]["first_stage"][metric] == value


@pytest.mark.slow
@pytest.mark.faults
def test_a_signal_at_one_host_stops_both_and_the_same_commands_go_on(
    folder: Path, machines: Cluster, whole: list[Done]
) -> None:
    stopped = machines.run(*train(folder, "stopped"), own={1: {"SIGNAL_AT": f"8:{signal.SIGTERM:d}"}})
    assert [done.code for done in stopped] == [143, 143], stopped
    assert (folder / "stopped/checkpoints/iter-00001-step-000009/state.json").exists()
    resumed = machines.run(*train(folder, "stopped"))
    assert [done.code for done in resumed] == [0, 0], resumed
    assert all("resuming at step 9 of 18" in done.stderr for done in resumed)
    assert (folder / f"stopped/{LAST}.data-00000-of-00001").read_bytes() == (
        folder / f"whole/{LAST}.data-00000-of-00001"
    ).read_bytes()
    assert (folder / "stopped/dev.run").read_bytes() == (folder / "whole/dev.run").read_bytes()
    assert (folder / "stopped/test.run").read_bytes() == (folder / "whole/test.run").read_bytes()


@pytest.mark.slow
@pytest.mark.faults
def test_rerank_on_hosts_and_devices(folder: Path, machines: Cluster, whole: list[Done]) -> None:
    """Each pair is scored by one of two hosts, of four devices, and the first host writes the run."""
    model = ("rerank", "--model", str(folder / "whole"), "--output")
    own = {index: {"NOTED": str(folder / f"reranked-{index}")} for index in range(2)}
    done = machines.run(*model, str(folder / "hosts.run"), "--strategy", "multiworker", own=own)
    assert [each.code for each in done] == [0, 0], done
    found = {"hosts": noted(folder / "reranked-0") + noted(folder / "reranked-1")}
    assert all(noted(folder / f"reranked-{index}") for index in range(2))
    for name, cpus in (("cpu", "1"), ("mirrored", "4")):
        note = str(folder / f"reranked-{name}")
        machines.one(*model, str(folder / f"{name}.run"), "--strategy", name, CPUS=cpus, NOTED=note)
        assert [each.code for each in machines.wait()] == [0]
        found[name] = noted(Path(note))
    assert found["hosts"] == found["mirrored"] == found["cpu"] and set(found["cpu"].values()) == {1}
    one = read_run(folder / "cpu.run")
    for name in ("hosts", "mirrored"):
        other = read_run(folder / f"{name}.run")
        assert {qid: set(scores) for qid, scores in one.items()} == {qid: set(scores) for qid, scores in other.items()}
        for qid, scores in one.items():
            for docid, score in scores.items():
                assert other[qid][docid] == pytest.approx(score, abs=1e-5)


@pytest.mark.slow
@pytest.mark.faults
def test_vectors_are_made_on_hosts_and_devices(folder: Path, machines: Cluster) -> None:
    """Each host encodes the texts of its own queries, in validation, test and rerank."""
    reranker = "reranker={name: biencoder, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32}}"
    options = (reranker, "extractor={name: apart, maxdoclen: 16, maxqlen: 6, vocab_size: 60}", "trainer.niters=1")
    trained = machines.run(*train(folder, "vectors"), *options)
    assert [done.code for done in trained] == [0, 0], trained
    model = ("rerank", "--model", str(folder / "vectors"), "--output")
    done = machines.run(*model, str(folder / "hosts.run"), "--strategy", "multiworker")
    assert [each.code for each in done] == [0, 0], done
    for name, cpus in (("cpu", "1"), ("mirrored", "4")):
        machines.one(*model, str(folder / f"{name}.run"), "--strategy", name, CPUS=cpus)
        assert [each.code for each in machines.wait()] == [0]
    one = read_run(folder / "cpu.run")
    for path in ("hosts.run", "mirrored.run", "vectors/test.run"):
        other = read_run(folder / path)
        assert other.keys() == one.keys() and len(one) == 4
        for qid, scores in one.items():
            assert other[qid] == pytest.approx(scores, abs=1e-5)


@pytest.mark.slow
@pytest.mark.faults
def test_a_host_killed_at_any_moment_ends_the_other_and_the_same_commands_go_on(
    folder: Path, machines: Cluster, whole: list[Done]
) -> None:
    """Either host, in a step or while it scores, until a training comes to its end: with the bits of the whole one."""
    draw, places = random.Random(3), collections.Counter[str]()
    for number in range(10):
        host, place = number % 2, ("SIGNAL_AT", "SIGNAL_IN")[number // 2 % 2]
        at = draw.randrange(18) if place == "SIGNAL_AT" else draw.randrange(1, 10)
        out = f"killed-{number // 2}"
        killed = machines.run(*train(folder, out), own={host: {place: f"{at}:{signal.SIGKILL:d}"}})
        codes = [done.code for done in killed]
        assert codes[host] in (-signal.SIGKILL, 0)
        if codes[host] == 0:  # it had come further than that before, and nothing happened
            assert codes == [0, 0]
            continue
        assert codes[1 - host] == 4, killed
        assert "another host is gone" in killed[1 - host].stderr
        places[f"{place} {host}"] += 1
        if number % 2:
            resumed = machines.run(*train(folder, out))
            assert [done.code for done in resumed] == [0, 0], resumed
            name = f"{LAST}.data-00000-of-00001"
            assert (folder / out / name).read_bytes() == (folder / "whole" / name).read_bytes()
            assert (folder / out / "test.run").read_bytes() == (folder / "whole/test.run").read_bytes()
    print(dict(places))
    assert sum(places.values()) >= 6
