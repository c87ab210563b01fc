"""Messages between hosts, in threads that stand for them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rankcli.errors import ConfigError, Interrupted, MissingError, StorageError
from rankcli.runs.hosts import check_same, common_directory
from rankcli.storage.mirror import Mirror
from rankcli.training import cluster, hosts
from rankcli.training.hosts import Hosts
from rankcli.training.signals import Stop

WAIT_S = 60


class Thread(Hosts):
    """A host whose sums are made in memory."""

    def __init__(self, index: int, gathered: dict[int, npt.NDArray[np.int64]], barrier: threading.Barrier) -> None:
        super().__init__()
        self.index, self.count, self._gathered, self._barrier = index, barrier.parties, gathered, barrier

    def _sum(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        self._gathered[self.index] = numbers
        self._barrier.wait(WAIT_S)
        total = np.sum([self._gathered[index] for index in range(self.count)], axis=0)
        self._barrier.wait(WAIT_S)
        return np.asarray(total)


def on_hosts(count: int, work: Callable[[Hosts], Any]) -> list[Any]:
    """The result or the error of the work on each host."""
    gathered: dict[int, npt.NDArray[np.int64]] = {}
    barrier = threading.Barrier(count)

    def caught(index: int) -> Any:
        try:
            return work(Thread(index, gathered, barrier))
        except (ConfigError, StorageError, Interrupted) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(caught, range(count)))


def test_each_host_hears_what_all_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any length: none, less than a number, several pieces; and exactly, whatever the bytes are."""
    monkeypatch.setattr(hosts, "PIECE", 16)
    contents = [b"", b"abc", bytes(range(256)), b"\xff" * 16]
    assert on_hosts(4, lambda hosts: hosts.all_gather(contents[hosts.index])) == [contents] * 4
    assert on_hosts(3, lambda hosts: hosts.max_over_hosts([0, 15, 2][hosts.index])) == [15] * 3
    alone = Hosts()
    assert (
        alone.all_gather(b"x") == [b"x"]
        and alone.max_over_hosts(2) == 2
        and alone.run_on_chief(lambda: 5) == 5
        and alone.chief
    )


def test_only_the_first_host_decides_and_its_errors_are_those_of_all() -> None:
    assert on_hosts(2, lambda hosts: hosts.run_on_chief(lambda: [hosts.index])) == [[0], [0]]

    def failing(hosts: Hosts) -> Any:
        def make() -> None:
            raise StorageError("full", where="disk", fix="buy another")

        return hosts.run_on_chief(make)

    found = on_hosts(2, failing)
    assert [(type(error), str(error)) for error in found] == [(StorageError, "disk: full\n  -> buy another")] * 2


def test_hosts_with_another_config_are_refused_on_all() -> None:
    found = on_hosts(3, lambda hosts: check_same(hosts, {"trainer": {"seed": 7 if hosts.index == 2 else 42}}))
    assert [error.exit_code for error in found] == [2, 2, 2]
    assert "host 2 was given something else than host 0:\n    trainer.seed (42, wanted 7)" in str(found[0])
    assert on_hosts(2, lambda hosts: check_same(hosts, {"trainer": {"seed": 42}})) == [None, None]


def test_hosts_stop_at_the_same_step() -> None:
    """One has the signal, all stop; the strongest if there are several."""

    def stopping(hosts: Hosts) -> Any:
        stop = Stop(hosts.max_over_hosts)
        stop.raise_if_asked()
        stop.signum = {0: 0, 1: 2, 2: 15}[hosts.index]
        stop.raise_if_asked()

    assert [error.exit_code for error in on_hosts(3, stopping)] == [143] * 3


def test_other_hosts_work_in_copies_of_the_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "PIECE", 1000)
    out = tmp_path / "out"
    (out / "checkpoints/iter-00001").mkdir(parents=True)
    files = {"run.json": b"{}", "checkpoints/iter-00001/ckpt": bytes(range(256)) * 20, "empty": b""}
    for name, content in files.items():
        (out / name).write_bytes(content)
    (out / "iter-2.tmp.7.abc").write_bytes(b"not complete")
    copies: list[Path] = []

    def working(hosts: Hosts) -> Any:
        mirror = Mirror(out if hosts.chief else tmp_path / "not there", tmp_path / f"cache-{hosts.index}")
        with common_directory(hosts, mirror, overwrite=False) as directory:
            found = {name: (directory.out / name).read_bytes() for name in files}
            copies.append(directory.out)
            (directory.out / f"from-{hosts.index}").write_text("new")
            assert not hosts.chief or directory.out == out
            return found, sorted(path.name for path in directory.out.iterdir())

    first, other = on_hosts(2, working)
    assert first[0] == other[0] == files
    assert other[1] == ["checkpoints", "empty", "from-1", "run.json"]
    assert (out / "from-0").exists() and not (out / "from-1").exists()
    assert sorted(path.exists() for path in copies) == [False, True] and not (tmp_path / "not there").exists()


def test_a_run_directory_that_is_taken_is_an_error_of_all(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    def working(hosts: Hosts) -> Any:
        with common_directory(hosts, Mirror(tmp_path / "out", tmp_path / f"cache-{hosts.index}"), overwrite=False):
            raise AssertionError("nobody comes here")

    assert [error.exit_code for error in on_hosts(2, working)] == [2, 2]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "no JSON",
        {"cluster": {"worker": ["a:1", "b:2"]}},
        {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}},
        {"cluster": {"worker": ["a:1", "b"]}, "task": {"type": "worker", "index": 0}},
        {"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "ps", "index": 0}},
    ],
)
def test_a_cluster_that_is_not_described_is_exit_2(content: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if content is not None:
        monkeypatch.setenv("TF_CONFIG", content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        cluster.cluster()


def test_a_host_that_does_not_come_is_exit_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "JOIN_S", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        here, there = (one.getsockname()[1] for one in (own, taken))
        own.close()
        workers = [f"127.0.0.1:{here}", "127.0.0.1:1"]
        with pytest.raises(MissingError, match=r"127.0.0.1:1: this host did not answer within 0 s") as missing:
            cluster.meet(workers, 0)
        assert missing.value.exit_code == 4
        with pytest.raises(MissingError, match="this host cannot listen: Address already in use"):
            cluster.meet([f"127.0.0.1:{there}"], 0)
