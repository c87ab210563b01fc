"""`rankcli cache` on real caches of the tiny collection: all damage is named and made good, nothing in use goes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.errors import StorageError
from rankcli.pipelines import _cache_repair as repair
from rankcli.pipelines._prepare import records_storage
from rankcli.pipelines._uses import Gone, using
from rankcli.records.manifest import Manifest, load, sealed, unsealed
from rankcli.storage.base import Storage, is_remote
from rankcli.storage.local import LocalStorage

ROOT = Path(__file__).parents[2]
DAY = 86400
SAMPLES = {"train": 24, "dev": 4, "test": 4}
SHARDS = {"train": 8, "dev": 4, "test": 4}

CHECKSUM = "unusable manifest: its checksum does not match"

Said = tuple[int, str, str]


class Caches:
    """The caches of the tiny collection's three splits, at `uri`; `run` types a command and gives what it said."""

    def __init__(self, folder: Path, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.uri, self._capsys = folder, uri, capsys
        self.storage: Storage = records_storage(uri)
        elsewhere = [f"trainer.storage={uri}"] if is_remote(uri) else []
        done = self.json("convert", "--config", str(folder / "crossencoder.yaml"), *elsewhere)
        self.at = {split: f"{done[split]['cache_id']}/1" for split in SAMPLES}
        self.bytes = {split: done[split]["bytes"] for split in SAMPLES}

    def run(self, *args: str) -> Said:
        self._capsys.readouterr()
        code = run([*args])
        return code, *self._capsys.readouterr()

    def cache(self, *args: str) -> Said:
        return self.run("cache", *args, "--storage", self.uri)

    def json(self, *args: str) -> Any:
        return json.loads(self.run(*args, "--json")[1])

    def listed(self) -> dict[str, Any]:
        """What `ls` says of each cache, by its name."""
        found = self.json("cache", "ls", "--storage", self.uri)["caches"]
        return {f"{each['cache_id']}/{each['generation']}": each for each in found}

    def manifest(self, split: str = "train") -> Manifest:
        found = load(self.storage, self.at[split])
        assert found is not None
        return found

    def path(self, split: str = "train", name: str = "") -> Path:
        """A file of a cache on the local disk."""
        return Path(self.storage.uri, self.at[split], name)

    def shard(self, number: int, split: str = "train") -> Path:
        """A shard on the local disk, by its place in the manifest."""
        return self.path(split, self.manifest(split).shards[number].name)

    def tree(self) -> dict[str, bytes]:
        """All files of a local storage but for locks."""
        root = Path(self.storage.uri)
        files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in ("lock", "hold"))
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    def age(self, split: str, days: float) -> None:
        """Make a local cache look last used so many days ago."""
        then = time.time() - days * DAY
        for path in self.path(split).rglob("*"):
            os.utime(path, (then, then))


@pytest.fixture
def caches(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Caches:
    """On the local disk."""
    tiny("crossencoder")
    return Caches(tmp_path, str(tmp_path / "cache"), capsys)


@pytest.fixture(params=["local", "gcs"])
def anywhere(request: Any, tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Caches:
    """On the local disk, and in a bucket."""
    tiny("crossencoder")
    if request.param == "local":
        return Caches(tmp_path, str(tmp_path / "cache"), capsys)
    return Caches(tmp_path, f"{request.getfixturevalue('gcs').uri}/some/where", capsys)


@contextmanager
def another_process(statement: str) -> Iterator[None]:
    """A process that has the context manager `statement` of LocalStorage `s` until the block ends."""
    root, statement = statement.split("|")
    code = f"""
import sys
from pathlib import Path
from rankcli.storage.local import LocalStorage
s = LocalStorage(Path({root!r}))
with {statement}:
    print("READY", flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "READY\n"
        yield
    finally:
        process.communicate()


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
    assert code == 0 and max(map(len, lines)) <= 110
    assert lines[0].split() == ["CACHE", "SPLIT", "SAMPLES", "SHARDS", "BYTES", "AGE", "USED", "STATE"]
    row = next(line for line in lines if line.startswith(caches.at["train"]))
    count = f"{caches.bytes['train']:,}"
    assert row.split() == [caches.at["train"], "train", "24", "8", count, "2", "d", "2", "d", "complete,", "in", "use"]
    assert lines[lines.index(row) + 2] == "    sampler LCE: nneg 3, seed 42, version 1"
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
    caches.path(name="manifest.json").write_bytes(sealed({**content, "schema_version": 3}))


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


def test_verify_finds_nothing_where_all_is_well(anywhere: Caches) -> None:
    code, text, err = anywhere.cache("verify", "--repair")
    total = sum(anywhere.bytes.values())
    assert (code, err) == (0, "")
    assert text == f"{anywhere.uri}/records: 3 caches, 16 shards, {total:,} bytes verified; all is well\n"


def flip(caches: Caches) -> list[str]:
    content = bytearray(caches.shard(2).read_bytes())
    place = random.Random(3).randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    caches.shard(2).write_bytes(content)
    return [f"{caches.shard(2)}: another checksum"]


def cut(caches: Caches) -> list[str]:
    os.truncate(caches.shard(0), 10)
    return [f"{caches.shard(0)}: 10 bytes instead of {caches.manifest().shards[0].bytes}"]


def emptied(caches: Caches) -> list[str]:
    caches.shard(7).write_bytes(b"")
    return [f"{caches.shard(7)}: 0 bytes instead of {caches.manifest().shards[7].bytes}"]


def lost(caches: Caches) -> list[str]:
    caches.shard(1).unlink()
    return [f"{caches.shard(1)}: missing"]


def swapped(caches: Caches) -> list[str]:
    shards = caches.manifest().shards
    other = next(n for n in range(1, 8) if shards[n].bytes != shards[0].bytes)
    one, two = caches.shard(0).read_bytes(), caches.shard(other).read_bytes()
    caches.shard(0).write_bytes(two)
    caches.shard(other).write_bytes(one)
    return [
        f"{caches.shard(0)}: {len(two)} bytes instead of {len(one)}",
        f"{caches.shard(other)}: {len(one)} bytes instead of {len(two)}",
    ]


def foreign(caches: Caches) -> list[str]:
    size = shutil.copyfile(caches.shard(0, "dev"), caches.shard(0)).stat().st_size
    return [f"{caches.shard(0)}: {size} bytes instead of {caches.manifest().shards[0].bytes}"]


def link(caches: Caches) -> list[str]:
    caches.shard(4).unlink()
    caches.shard(4).symlink_to("/etc/passwd")
    return [f"{caches.shard(4)}: a link stands in the place of the shard"]


def pipe(caches: Caches) -> list[str]:
    caches.shard(5).unlink()
    os.mkfifo(caches.shard(5))
    return [f"{caches.shard(5)}: a pipe stands in the place of the shard"]


def manifest_bit(caches: Caches) -> list[str]:
    path = caches.path(name="manifest.json")
    path.write_bytes(path.read_bytes().replace(b'"samples": ', b'"samples": 1'))
    return [f"{path}: {CHECKSUM}"]


def manifest_pipe(caches: Caches) -> list[str]:
    path = caches.path(name="manifest.json")
    path.unlink()
    os.mkfifo(path)
    return [f"{path}: a pipe stands in the place of the manifest"]


def manifest_and_shards(caches: Caches) -> list[str]:
    link(caches), pipe(caches), flip(caches), lost(caches)
    return manifest_bit(caches)


def manifest_of_another(caches: Caches) -> list[str]:
    path = caches.path(name="manifest.json")
    shutil.copyfile(caches.path("dev", "manifest.json"), path)
    return [f"{path}: the manifest is of cache {caches.at['dev'].split('/')[0]}"]


def left_over(caches: Caches) -> list[str]:
    path = caches.path(name="shard-00-00000000-00000002.tfrecord")
    shutil.copyfile(caches.shard(0), path)
    return [f"{path}: a shard that no manifest knows"]


def link_besides(caches: Caches) -> list[str]:
    path = caches.path(name="shard-00-00000003-00000005.tfrecord")
    path.symlink_to("/etc/passwd")
    return [f"{path}: a link, called like a shard"]


DAMAGES = [
    flip,
    cut,
    emptied,
    lost,
    swapped,
    foreign,
    link,
    pipe,
    manifest_bit,
    manifest_pipe,
    manifest_and_shards,
    manifest_of_another,
    left_over,
    link_besides,
]


@pytest.mark.faults
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_is_one_line_and_is_made_good_to_the_byte(
    damage: Callable[[Caches], list[str]], caches: Caches
) -> None:
    before = caches.tree()
    said = damage(caches)
    spoiled = caches.tree()
    code, text, err = caches.cache("verify")
    count = f"{len(said)} damage{'s' if len(said) > 1 else ''}"
    assert code == 6 and text.splitlines()[:-1] == sorted(said)
    assert text.splitlines()[-1].endswith(f"verified; {count}") and err.startswith(
        f"error: {caches.storage.uri}: {count}\n"
    )
    assert caches.tree() == spoiled
    code, text, err = caches.cache("verify", "--repair")
    assert code == 0 and "error" not in err
    assert text.splitlines()[:-1] == [f"{line}; repaired" for line in sorted(said)]
    assert text.splitlines()[-1].endswith(f"verified; {count}, {len(said)} repaired")
    assert caches.tree() == before and Path("/etc/passwd").stat().st_size > 0
    assert caches.cache("verify")[0] == 0


def test_a_cache_in_a_bucket_is_verified_and_made_good(gcs: Any, tiny: Any, tmp_path: Path, capsys: Any) -> None:
    tiny("crossencoder")
    caches = Caches(tmp_path, f"{gcs.uri}/some/where", capsys)
    shards = [f"{caches.at['train']}/{shard.name}" for shard in caches.manifest().shards]
    before = [caches.storage.read_bytes(name) for name in shards]
    caches.storage.write_bytes(shards[0], bytes(len(before[0])))
    caches.storage.delete(shards[1])
    caches.storage.delete(shards[2])
    caches.storage.write_bytes(f"{shards[2]}/inner", b"x")
    caches.storage.write_bytes(f"{caches.at['dev']}/manifest.json", b"{}")
    manifest = f"{caches.at['dev']}/manifest.json: unusable manifest: 'checksum'"
    said = [f"{shards[0]}: another checksum", f"{shards[1]}: missing", manifest]
    said.append(f"{shards[2]}: a folder stands in the place of the shard")
    said = sorted(f"{caches.uri}/records/{line}" for line in said)
    code, text, _ = caches.cache("verify")
    assert code == 6 and sorted(text.splitlines()[:-1]) == said
    code, text, err = caches.cache("verify", "--repair")
    assert code == 0, err
    assert sorted(text.splitlines()[:-1]) == [f"{line}; repaired" for line in said]
    assert [caches.storage.read_bytes(name) for name in shards] == before
    assert caches.manifest("dev").samples == 4


@pytest.mark.faults
def test_folders_among_the_shards_are_named_and_left_alone(caches: Caches) -> None:
    before = caches.tree()
    said = [*flip(caches), *left_over(caches)]
    folders = [caches.shard(3), caches.path(name="shard-01-00000000-00000001.tfrecord")]
    caches.shard(3).unlink()
    for folder in folders:
        folder.mkdir()
        (folder / "thesis.txt").write_text("years of work")
    code, text, err = caches.cache("verify", "--repair")
    refused = f"not repaired: {caches.path()}: a folder is not removed: look what it holds, and remove it"
    assert code == 6 and "2 of 4 damages are not repaired" in err
    assert sorted(text.splitlines()[:-1]) == sorted(
        [
            *(f"{line}; repaired" for line in said),
            f"{folders[0]}: a folder stands in the place of the shard; {refused}",
            f"{folders[1]}: a folder, called like a shard; {refused}",
        ]
    )
    for folder in folders:
        assert (folder / "thesis.txt").read_text() == "years of work"
        shutil.rmtree(folder)
    assert caches.cache("verify", "--repair")[0] == 0 and caches.tree() == before


@pytest.mark.faults
def test_whole_caches_that_are_links_are_not_followed(caches: Caches, tmp_path: Path) -> None:
    moved = caches.path("dev").parent.rename(tmp_path / "moved")
    caches.path("dev").parent.symlink_to(moved)
    inner = caches.path("test").rename(tmp_path / "inner")
    caches.path("test").symlink_to(inner)
    code, text, _ = caches.cache("verify")
    assert code == 0 and f"{caches.path('dev').parent}: a link: not followed\n" in text
    assert f"{caches.path('test')}: a link: not followed\n" in text and "1 cache, 8 shards" in text
    assert list(caches.listed()) == [caches.at["train"]]
    assert caches.cache("prune", "--older-than", "0h")[0] == 0
    assert len(list((moved / "1").iterdir())) == len(list(inner.iterdir())) == 6


@pytest.mark.faults
def test_a_damaged_manifest_of_an_extended_cache_is_made_again_with_all_else_that_is_damaged(caches: Caches) -> None:
    convert = ["convert", "--config", str(caches.folder / "crossencoder.yaml"), "trainer.niters=6"]
    assert caches.run(*convert)[0] == 0
    extended = {shard.name for shard in caches.manifest().shards}
    assert caches.manifest().samples == 36 and len(extended) == 16
    manifest_and_shards(caches)
    code, text, err = caches.cache("verify", "--repair")
    assert code == 0, err
    assert text.splitlines()[:-1] == [f"{caches.path(name='manifest.json')}: {CHECKSUM}; repaired"]
    assert caches.manifest().samples == 36 and len(caches.manifest().shards) == 8
    assert caches.cache("verify")[1].endswith("all is well\n")
    names = {name for name in caches.storage.list(caches.at["train"]) if name.startswith("shard-")}
    assert names == {shard.name for shard in caches.manifest().shards}


@pytest.mark.faults
def test_a_repair_that_fails_half_way_is_not_said_to_be_one(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise StorageError("No space left on device", where="disk")

    before = caches.tree()
    manifest_bit(caches)
    with monkeypatch.context() as patch:
        patch.setattr(repair, "convert", full)
        code, text, err = caches.cache("verify", "--repair")
    assert code == 6 and "1 of 1 damages are not repaired" in err
    assert f"manifest.json: {CHECKSUM}; not repaired: disk: No space left on device\n" in text
    assert "interrupted conversion, 8 shards so far" in caches.cache("verify")[1]
    assert caches.run("convert", "--config", str(caches.folder / "crossencoder.yaml"))[0] == 0
    assert but_sources(caches.tree()) == but_sources(before)


def but_sources(tree: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in tree.items() if "source" not in name}


def begun(caches: Caches, name: str) -> Path:
    path = caches.path(name=name)
    shutil.copyfile(caches.shard(0), path)
    return path


def test_an_interrupted_extension_is_no_damage(caches: Caches) -> None:
    begun(caches, "shard-01-00000003-00000005.tfrecord")  # written, but its receipt was not
    code, text, _ = caches.cache("verify")
    assert code == 0 and f"{caches.path()}: interrupted extension, 1 shard so far\n" in text
    overlapping = begun(caches, "shard-01-00000002-00000005.tfrecord")
    caches.path(name="parts").mkdir()
    code, text, _ = caches.cache("verify", "--repair")
    assert code == 0 and "interrupted extension, 2 shards so far\n" in text and overlapping.exists()
    caches.path(name="parts").rmdir()
    with another_process(f"{caches.storage.uri}|s.lock({caches.at['train'].split('/')[0]!r})"):
        assert caches.cache("verify")[0] == 0
    code, text, _ = caches.cache("verify")
    assert code == 6 and f"{overlapping}: a shard that no manifest knows\n" in text


@pytest.mark.parametrize("damage", [flip, manifest_bit])
def test_what_was_made_of_other_inputs_is_not_made_again(damage: Any, caches: Caches) -> None:
    damage(caches)
    before = caches.tree()
    (caches.folder / "qrels.txt").write_text("".join(f"q{n} 0 d{2 * n + 1} 1\n" for n in range(12)))
    code, text, err = caches.cache("verify", "--repair")
    assert code == 6 and "1 of 1 damages are not repaired\n  -> put the inputs back as they were" in err
    why = "the inputs have changed: data"
    if damage is manifest_bit:
        why = "the inputs have changed, and what they were the manifest cannot tell any more"
    assert text.splitlines()[0].endswith(f"; not repaired: {caches.path()}: {why}")
    assert caches.tree() == before


@pytest.mark.parametrize("name", ["docs.jsonl", "source.yaml"])
def test_what_has_no_inputs_any_more_is_not_made_again(name: str, caches: Caches) -> None:
    flip(caches)
    (caches.folder / name if name == "docs.jsonl" else caches.path(name=name)).unlink()
    before = caches.tree()
    code, text, err = caches.cache("verify", "--repair")
    assert code == 6 and "1 of 1 damages are not repaired" in err
    (line, _) = text.splitlines()
    assert "another checksum; not repaired: " in line and name in line
    assert caches.tree() == before


def removed(text: str) -> list[str]:
    return [line.split(",")[0].split()[-1] for line in text.splitlines() if line.startswith("removed")]


def test_prune_removes_what_was_last_used_longer_ago(caches: Caches) -> None:
    for split, days in (("train", 40), ("dev", 29.9), ("test", 40)):
        caches.age(split, days)
    with using(caches.storage, caches.manifest("test"), str(caches.folder), None):
        pass
    before = caches.tree()
    code, text, _ = caches.cache("prune", "--older-than", "30d", "--dry-run")
    freed, rest = caches.bytes["train"], caches.bytes["dev"] + caches.bytes["test"]
    assert code == 0 and caches.tree() == before
    assert text == (
        f"would remove {caches.path()}, {freed:,} bytes: last used 40 d ago\n"
        f"{freed:,} bytes would be freed, {rest:,} bytes are left\n"
    )
    done = caches.json("cache", "prune", "--older-than", "30d", "--storage", caches.uri)
    assert done == {
        "schema_version": 1,
        "storage": caches.storage.uri,
        "dry_run": False,
        "removed": [{"path": str(caches.path()), "bytes": freed, "why": "last used 40 d ago"}],
        "kept": [],
        "failed": [],
        "bytes_freed": freed,
        "bytes_left": rest,
    }
    assert caches.tree() == {name: data for name, data in before.items() if not name.startswith(caches.at["train"])}
    assert set(caches.listed()) == {caches.at["dev"], caches.at["test"]}


def test_prune_to_a_size_removes_what_was_used_longest_ago(caches: Caches) -> None:
    for split, days in (("train", 2), ("dev", 3), ("test", 1)):
        caches.age(split, days)
    total = sum(caches.bytes.values())
    assert removed(caches.cache("prune", "--max-bytes", str(total))[1]) == []
    assert removed(caches.cache("prune", "--max-bytes", str(total - 1))[1]) == [str(caches.path("dev"))]
    code, text, _ = caches.cache("prune", "--max-bytes", "1K")
    assert (code, removed(text)) == (0, [str(caches.path("train")), str(caches.path("test"))])
    assert "more than 1,000 bytes in all" in text and caches.listed() == {}


def test_prune_of_unused_keeps_what_an_existing_run_used(anywhere: Caches) -> None:
    (anywhere.folder / "kept").mkdir()
    for split, name in (("train", "kept"), ("dev", "lost")):
        with using(anywhere.storage, anywhere.manifest(split), str(anywhere.folder / name), "ab12"):
            pass
    code, text, _ = anywhere.cache("prune", "--unused")
    assert code == 0 and text.count("used by no run directory that exists") == 2
    assert list(anywhere.listed()) == [anywhere.at["train"]]
    assert anywhere.cache("verify")[0] == 0
    assert anywhere.storage.list(anywhere.at["dev"]) == anywhere.storage.list(anywhere.at["test"]) == []
    (anywhere.folder / "kept").rmdir()
    done = anywhere.json("cache", "prune", "--older-than", "1d", "--unused", "--storage", anywhere.uri)
    assert (done["bytes_freed"], done["bytes_left"]) == (anywhere.bytes["train"], 0)


def test_a_run_directory_of_another_machine_may_exist(caches: Caches) -> None:
    with using(caches.storage, caches.manifest(), str(caches.folder / "lost"), "ab12"):
        pass
    (note,) = caches.path(name="runs").iterdir()
    note.write_text(note.read_text().replace(json.dumps(socket.gethostname()), '"far-away"'))
    assert f"used by {caches.folder / 'lost'} of far-away, " in caches.cache("ls")[1]
    assert sorted(removed(caches.cache("prune", "--unused")[1])) == sorted(map(str, map(caches.path, ("dev", "test"))))


@pytest.mark.faults
@pytest.mark.parametrize("how", ["s.hold({!r})", "s.lock({!r}.split('/')[0])"])
def test_what_another_process_uses_or_converts_survives(how: str, caches: Caches) -> None:
    before = caches.tree()
    with another_process(f"{caches.storage.uri}|{how.format(caches.at['train'])}"):
        code, text, _ = caches.cache("prune", "--older-than", "0h", "--unused", "--max-bytes", "0")
        kept = {name: data for name, data in before.items() if name.startswith(caches.at["train"])}
        assert code == 0 and caches.tree() == kept
        assert f"kept {caches.path()}, {caches.bytes['train']:,} bytes: in use\n" in text
    assert caches.cache("prune", "--older-than", "0h")[0] == 0 and caches.tree() == {}


def test_what_is_held_survives(anywhere: Caches) -> None:
    with anywhere.storage.hold(anywhere.at["dev"]):
        done = anywhere.json("cache", "prune", "--max-bytes", "0", "--storage", anywhere.uri)
    kept = {"path": f"{anywhere.uri}/records/{anywhere.at['dev']}", "bytes": anywhere.bytes["dev"], "why": "in use"}
    assert (done["kept"], done["bytes_left"]) == ([kept], anywhere.bytes["dev"])
    assert list(anywhere.listed()) == [anywhere.at["dev"]] and anywhere.cache("verify")[0] == 0


@pytest.mark.faults
def test_who_begins_to_read_while_it_goes_keeps_it(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    before, delete = caches.tree(), LocalStorage.delete
    with ExitStack() as stack:

        def delete_and_hold(self: LocalStorage, name: str) -> None:
            delete(self, name)
            if name == f"{caches.at['train']}/manifest.json":
                stack.enter_context(self.hold(caches.at["train"]))

        monkeypatch.setattr(LocalStorage, "delete", delete_and_hold)
        code, text, _ = caches.cache("prune", "--max-bytes", "0")
    assert code == 0 and "bytes: in use\n" in text
    assert caches.tree() == {name: data for name, data in before.items() if name.startswith(caches.at["train"])}


@pytest.mark.faults
def test_who_used_it_while_prune_waited_for_the_lock_keeps_it(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, manifest = LocalStorage.lock, caches.manifest()

    @contextmanager
    def use_first(self: LocalStorage, name: str) -> Iterator[None]:
        if name == manifest.cache_id:
            with using(self, manifest, str(caches.folder), None):
                pass
        with lock(self, name):
            yield

    monkeypatch.setattr(LocalStorage, "lock", use_first)
    code, text, _ = caches.cache("prune", "--unused")
    assert code == 0 and f"kept {caches.path()}, {caches.bytes['train']:,} bytes: used meanwhile\n" in text
    assert list(caches.listed()) == [caches.at["train"]] and caches.cache("verify")[0] == 0


def test_who_comes_after_a_prune_is_told_to_convert_again(caches: Caches) -> None:
    manifest = caches.manifest()
    assert caches.cache("prune", "--unused")[0] == 0
    with pytest.raises(Gone), using(caches.storage, manifest, "run", None):
        raise AssertionError("it is gone")
    assert caches.listed() == {}


@pytest.mark.faults
def test_what_cannot_be_removed_is_said_and_the_rest_goes(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    delete = LocalStorage.delete

    def refuse(self: LocalStorage, name: str) -> None:
        if name == caches.at["dev"]:
            raise StorageError("Permission denied", where=name)
        delete(self, name)

    monkeypatch.setattr(LocalStorage, "delete", refuse)
    code, text, err = caches.cache("prune", "--max-bytes", "0")
    assert code == 6 and err.startswith(f"error: {caches.storage.uri}: 1 could not be removed\n")
    place = f"{caches.path('dev')}, {caches.bytes['dev']:,} bytes"
    assert f"not removed {place}: {caches.at['dev']}: Permission denied\n" in text
    assert list(caches.listed()) == [caches.at["dev"]]


def test_a_cache_that_other_machines_extend_is_kept(caches: Caches) -> None:
    caches.age("train", 40)
    receipt = caches.path(name="parts") / "shard-00-00000003-00000005.tfrecord.json"
    receipt.parent.mkdir()
    receipt.touch()
    now = time.time()
    os.utime(receipt, (now, now - 3000))
    code, text, _ = caches.cache("prune", "--older-than", "0h", "--unused")
    assert code == 0 and f"kept {caches.path()}, {caches.bytes['train']:,} bytes: its conversion may go on\n" in text
    os.utime(receipt, (now, now - 4000))
    assert removed(caches.cache("prune", "--older-than", "1h")[1]) == [str(caches.path())]


KILLED = """
import os, sys
from rankcli.cli import run
from rankcli.storage.local import LocalStorage
delete = LocalStorage.delete
def die(self, name):
    if not name.endswith("manifest.json"):
        os._exit(9)
    delete(self, name)
LocalStorage.delete = die
run(["cache", "prune", "--older-than", "30d"])
"""


@pytest.mark.faults
def test_a_prune_that_is_killed_leaves_no_cache_but_what_a_conversion_goes_on_with(caches: Caches) -> None:
    before = caches.tree()
    caches.age("train", 31)
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    manifest = f"{caches.at['train']}/manifest.json"
    assert caches.tree() == {name: data for name, data in before.items() if name != manifest}
    assert caches.listed()[caches.at["train"]]["state"] == "interrupted"
    code, _, _ = caches.run("convert", "--config", str(caches.folder / "crossencoder.yaml"))
    assert code == 0 and caches.listed()[caches.at["train"]]["state"] == "complete"
    assert but_sources(caches.tree()) == but_sources(before)


def test_what_interrupted_conversions_left_goes_by_age(caches: Caches) -> None:
    caches.path("train", "manifest.json").unlink()
    work = caches.folder / "cache" / "work"
    for name in ("dead", "alive"):
        (work / name).mkdir(parents=True)
        (work / name / "tokens").write_bytes(b"12345")
        (work / name / "lock").touch()
    found = caches.json("cache", "ls", "--storage", caches.uri)
    assert (found["work_bytes"], [Path(each["path"]).name for each in found["work"]]) == (10, ["alive", "dead"])
    assert caches.cache("ls")[1].endswith(f"\n{work}: work in progress, 10 bytes\n")
    text = caches.cache("prune", "--older-than", "0h", "--dry-run")[1]
    assert f"kept {caches.path()}, {caches.bytes['train']:,} bytes: its conversion may go on\n" in text
    caches.age("train", 31)
    for name in ("dead", "alive"):
        for path in (work / name).iterdir():
            os.utime(path, (0, time.time() - 31 * DAY))
    assert removed(caches.cache("prune", "--unused", "--dry-run")[1]) == []
    assert str(caches.path()) not in caches.cache("prune", "--unused", "--dry-run")[1]
    with another_process(f"{work}|s.lock('alive')"):
        os.utime(work / "alive" / "lock", (0, 0))
        code, text, _ = caches.cache("prune", "--older-than", "30d")
    assert code == 0 and sorted(removed(text)) == sorted([str(caches.path()), str(work / "dead")])
    assert re.search(rf"^kept {work / 'alive'}, \d+ bytes: in use$", text, re.MULTILINE)
    assert f"{caches.bytes['train'] + 5:,} bytes freed" in text
    assert os.listdir(work) == ["alive"] and len(caches.listed()) == 2


def test_a_use_is_noted_once_per_run_directory_with_its_last_time(
    caches: Caches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(caches.folder)
    for _ in range(2):
        with using(caches.storage, caches.manifest(), "runs/a", "ab12"):
            assert caches.storage.held(caches.at["train"])
            (note,) = caches.path(name="runs").iterdir()
            os.utime(note, (0, 0))
        assert time.time() - note.stat().st_mtime < 60 and not caches.storage.held(caches.at["train"])
    content = json.loads(note.read_text())
    assert {key: content[key] for key in ("schema_version", "run_dir", "run_id", "host")} == {
        "schema_version": 1,
        "run_dir": str(caches.folder / "runs" / "a"),
        "run_id": "ab12",
        "host": socket.gethostname(),
    }


@pytest.mark.faults
def test_notes_that_are_no_notes_are_passed_over(caches: Caches) -> None:
    runs = caches.path(name="runs")
    runs.mkdir()
    (runs / "a.json").write_text("[]")
    (runs / "b.json").symlink_to("/etc/passwd")
    os.mkfifo(runs / "c.json")
    (runs / "d.json").write_text(json.dumps({"run_dir": "/a\x1b[2Jb", "run_id": None, "host": "h"}))
    code, text, err = caches.cache("ls")
    assert code == 0 and err.count("passed over") == 3 and "\x1b" not in text
    assert "used by '/a\\x1b[2Jb of h', " in text


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
