"""Long trainings, other devices, and what must not be found in what they leave."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.faults.project import Project, contents
from tests.faults.training import Process, Run, Trainings, wait_until

pytestmark = pytest.mark.faults
SMALL = "{layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.0}"
NO_DROPOUT = (f"reranker.encoder={SMALL}", "reranker.dropout=0.0")


@pytest.mark.slow
def test_one_and_two_devices_have_the_same_losses_and_one_may_take_over_from_the_other(trainings: Trainings) -> None:
    """To 1e-5, for 120 steps without dropout; the third is stopped on one device and goes on with two."""
    one = trainings.new("one device", 80, *NO_DROPOUT).finish()
    two = trainings.new("two devices", 80, *NO_DROPOUT).finish()
    changed = trainings.new("one device", 80, *NO_DROPOUT)
    process = changed.start()
    wait_until(process, lambda: changed.steps() > 50)
    process.signal(signal.SIGTERM)
    assert process.wait() == 143
    at = changed.saved()
    assert 50 < at < 120
    changed.args += ["trainer.strategy=mirrored"]
    changed.cpus = 2
    last = changed.start()
    assert last.wait() == 0 and f"resuming at step {at} of 120" in last.said()
    expected = list(one.losses().values())
    worst = {}
    for name, run in {"two": two, "changed": changed}.items():
        losses = run.losses()
        assert list(losses) == list(range(1, 121))
        np.testing.assert_allclose(list(losses.values()), expected, rtol=1e-5)
        worst[name] = max(abs(loss / wanted - 1) for loss, wanted in zip(losses.values(), expected, strict=True))
    assert list(changed.losses().values())[at:] == pytest.approx(list(two.losses().values())[at:], rel=1e-5)
    print(f"changed at step {at}; largest relative differences: {worst}")


def memory(process: Process) -> int:
    """The memory of the process, in kB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def descriptors(process: Process) -> int:
    """Files that the process has open, but for those in which it writes a checkpoint just now."""
    links = []
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except FileNotFoundError:
            continue
    return sum(".tmp." not in link for link in links)


def on_disk(run: Run) -> int:
    """Bytes of the complete checkpoints."""
    return sum(len(data) for name, data in contents(run.out / "checkpoints").items() if ".tmp." not in name)


@pytest.mark.slow
def test_ten_thousand_steps_and_five_hundred_checkpoints_take_no_more_than_the_first_thousand(
    trainings: Trainings,
) -> None:
    options = ("trainer.niters=20", "trainer.itersize=1000", "trainer.checkpointsteps=20", "trainer.validatefreq=10")
    run = trainings.new("one device", 1000, *options)
    process, seen = run.start(), []
    for step in range(1000, 10_000, 500):
        wait_until(process, lambda step=step: run.last() >= step)
        assert process.wait(0) is None, process.said()
        seen.append((run.last(), memory(process), descriptors(process), on_disk(run)))
    assert process.wait() == 0 and run.last() == 10_000
    print("step, kB, descriptors, bytes of checkpoints:", *seen, sep="\n")
    _, memories, files, sizes = zip(*seen, strict=True)
    assert max(memories) <= 1.05 * memories[0]
    assert max(files) - min(files) <= 8  # shards that are opened ahead
    assert max(sizes) <= 1.6 * min(sizes)  # a third one, for a moment
    assert sorted(path.name for path in (run.out / "checkpoints").iterdir()) == ["iter-00019-step-009980", "iter-00020"]


SECRET = "s3cr3t-t0ken-0f-n0body"


def test_no_secret_of_the_environment_is_written_anywhere(project: Project, tmp_path: Path) -> None:
    """Credentials that are right, wrong and in the way; and with `--debug`, a failure that concerns them."""
    home = tmp_path / "home"
    key = {"type": "service_account", "project_id": "p", "private_key_id": SECRET, "private_key": SECRET}
    files = {
        ".netrc": f"machine example.org login me password {SECRET}\n",
        "key.json": json.dumps({**key, "client_email": f"{SECRET}@p", "token_uri": "http://127.0.0.1:9/"}),
        ".config/gcloud/application_default_credentials.json": json.dumps({**key, "refresh_token": SECRET}),
        ".cache/huggingface/token": SECRET,
    }
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content)
    names = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GOOGLE_AUTH_TOKEN_FOR_TESTING", "WANDB_API_KEY", "SECRET")
    environment = {**dict.fromkeys(names, SECRET), "GOOGLE_APPLICATION_CREDENTIALS": str(home / "key.json")}
    environment["HOME"] = str(home)
    out = tmp_path / "out"
    short = ["--out", str(out), "trainer.niters=1", "trainer.itersize=4", "--debug", "--json"]
    done = project.run("train", *short, environment=environment)
    assert done.returncode == 0, done.stderr
    failed = project.run("train", *short, "trainer.storage=gs://bucket/records", environment=environment)
    assert failed.returncode == 4 and "credentials" in failed.stderr and "Traceback" in failed.stderr
    said = "".join((done.stdout, done.stderr, failed.stdout, failed.stderr))
    assert SECRET not in said
    left = {**contents(out), **contents(project.cache)}
    assert len(left) > 20 and {"run.json", "config.yaml", "metrics.jsonl", "result.json", "report.html"} <= set(left)
    assert [name for name, data in left.items() if SECRET.encode() in data] == []
    assert {name: (home / name).read_text() for name in files} == files
