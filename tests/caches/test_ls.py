"""`rankcli cache ls` on real caches of the tiny collection."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankcli.cli import run
from rankcli.runs.uses import using
from rankcli.storage.sealed import sealed, unsealed
from tests.caches.caches import SAMPLES, SHARDS, Caches, another_process


def test_ls_says_what_there_is(anywhere: Caches) -> None:
    (anywhere.folder / "kept").mkdir()
    with using(anywhere.storage, anywhere.manifest("train"), str(anywhere.folder / "kept"), "ab12"):
        assert {each["split"]: each["in_use"] for each in anywhere.listed().values()} == {
            "train": True,
            "dev": False,
            "test": False,
        }
    with using(anywhere.storage, anywhere.manifest("dev"), str(anywhere.folder / "lost"), None):
        pass
    found = anywhere.json("cache", "ls", "--storage", anywhere.uri)
    assert found["schema_version"] == 1 and found["storage"] == f"{anywhere.uri}/records"
    assert found["bytes"] == sum(anywhere.bytes.values()) and found["work_bytes"] == 0 == len(found["work"])
    by_split = {each["split"]: each for each in found["caches"]}
    for split, location in anywhere.at.items():
        one = by_split[split]
        assert f"{one['cache_id']}/{one['generation']}" == location and one["path"].endswith(location)
        assert (one["samples"], one["shards"], one["state"]) == (SAMPLES[split], SHARDS[split], "complete")
        names = [name for name in anywhere.storage.list(location) if name.startswith("shard-")]
        assert one["bytes"] == sum(anywhere.storage.size(f"{location}/{name}") or 0 for name in names)
        assert one["identity"]["split"] == split and one["versions"]["rankcli"] and not one["in_use"]
    (train,), (dev,) = by_split["train"]["runs"], by_split["dev"]["runs"]
    assert (train["run_dir"], train["run_id"], train["exists"]) == (str(anywhere.folder / "kept"), "ab12", True)
    assert (dev["run_dir"], dev["run_id"], dev["exists"]) == (str(anywhere.folder / "lost"), None, False)
    assert by_split["test"]["runs"] == [] and by_split["test"]["last_used"] is None
    assert train["last"] == by_split["train"]["last_used"] >= by_split["train"]["modified"]


def test_ls_for_people_is_a_table_that_fits_the_screen(caches: Caches) -> None:
    caches.age("train", 3.5)
    with using(caches.storage, caches.manifest("train"), str(caches.folder / "lost"), "ab12"):
        caches.age("train", 2.2)
        code, text, _ = caches.cache("ls")
    lines = text.splitlines()
    assert code == 0 and max(len(line) for line in lines if str(caches.folder) not in line) <= 110  # paths are whole
    assert lines[0].split() == ["CACHE", "SPLIT", "SAMPLES", "SHARDS", "BYTES", "AGE", "USED", "STATE"]
    row = next(line for line in lines if line.startswith(caches.at["train"]))
    count = f"{caches.bytes['train']:,}"
    assert row.split() == [caches.at["train"], "train", "24", "8", count, "2", "d", "2", "d", "complete,", "in", "use"]
    assert lines[lines.index(row) + 1] == f"    {caches.folder.name}/docs.jsonl, for crossencoder"
    assert lines[lines.index(row) + 3] == "    sampler LCE: nneg 3, seed 42, version 1"
    assert f"    used by {caches.folder / 'lost'} (exists no more), 2 d ago" in lines
    assert lines.index(row) > 8  # the last used first
    assert lines[-1] == f"{caches.storage.uri}: 3 caches, {sum(caches.bytes.values()):,} bytes"


def test_a_storage_without_caches_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb, said in (
        (["ls"], "0 caches, 0 bytes\n"),
        (["verify", "--repair"], "0 caches, 0 shards, 0 bytes verified; all is well\n"),
        (["prune", "--unused"], "0 bytes freed, 0 bytes are left\n"),
    ):
        assert run(["cache", *verb, "--storage", str(tmp_path / "none")]) == 0
        assert capsys.readouterr().out.endswith(said)
    assert not (tmp_path / "none").exists()


def another_version(caches: Caches) -> None:
    content = unsealed(caches.path(name="manifest.json").read_bytes())
    caches.path(name="manifest.json").write_bytes(sealed({**content, "schema_version": 4}))


def test_states(caches: Caches) -> None:
    caches.path("dev", "manifest.json").write_text("{")
    caches.path("test", "manifest.json").unlink()
    another_version(caches)
    found = {split: caches.listed()[location] for split, location in caches.at.items()}
    states = {split: (each["state"], each["shards"], each["bytes"]) for split, each in found.items()}
    assert states == {
        "train": ("other version", 8, caches.bytes["train"]),
        "dev": ("damaged", 4, caches.bytes["dev"]),
        "test": ("interrupted", 4, caches.bytes["test"]),
    }
    assert "unusable manifest: Expecting property name" in found["dev"]["why"] and found["dev"]["split"] == "?"
    with another_process(f"{caches.storage.uri}|s.lock({caches.at['test'].split('/')[0]!r})"):
        text = caches.cache("ls")[1]
    rows = {line.split()[0]: line for line in text.splitlines() if line[0].isalnum()}
    assert rows[caches.at["test"]].endswith("being converted") and rows[caches.at["dev"]].endswith("  damaged")
    code, text, err = caches.cache("verify")
    assert code == 6 and err.startswith(f"error: {caches.storage.uri}: 1 damage\n")
    assert f"{caches.at['train']}: unusable manifest: it is of another version; not verified" in text
    assert f"{caches.at['test']}: interrupted conversion, 4 shards so far" in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["prune"], "say what to remove: give --older-than, --max-bytes or --unused."),
        (["prune", "--older-than", "30"], "'30' is not an age in hours or days, for example 12h or 30d."),
        (["prune", "--older-than", "-1d"], "'-1d' is not an age"),
        (["prune", "--max-bytes", "10Q"], "'10Q' is not a number of bytes, for example 500M or 10G."),
        (["prune", "--unused", "--storage", "s3://x"], "unknown kind of storage s3://"),
        (["list"], "No such command 'list'"),
        ([], "Usage: rankcli cache"),
    ],
)
def test_wrong_usage_exits_2(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", *args]) == 2
    out, err = capsys.readouterr()
    assert said in out + err


@pytest.mark.parametrize(
    ("config", "made_of"),
    [
        (b"data: {docs: [a/b/c.tsv, d.tsv]}\nreranker: {name: TFKNRM}\n", "b/c.tsv, d.tsv, for TFKNRM"),
        (b"data: {builtin: stdlib-docs}\nreranker: {name: biencoder}\n", "stdlib-docs, for biencoder"),
        (b"data: {source: {name: allsorts}}\n", "allsorts"),
        (b"data: 1\nreranker: [2]\n", ""),
        (b"\xff", ""),
        (b"[]", ""),
        (None, ""),
    ],
)
def test_a_cache_is_listed_with_its_collection_and_reranker(caches: Caches, config: bytes | None, made_of: str) -> None:
    source = f"{caches.at['train']}/source.yaml"
    if config is None:
        caches.storage.delete(source)
    else:
        caches.storage.write_bytes(source, config)
    found = caches.json("cache", "ls", "--storage", caches.uri)["caches"]
    assert {each["split"]: each["made_of"] for each in found}["train"] == made_of
