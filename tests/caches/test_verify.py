"""`rankcli cache verify`: all damage is named and made good, to the byte."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rankcli.caches import repair as repair
from rankcli.errors import StorageError
from tests.caches.caches import Caches, another_process, but_sources

CHECKSUM = "unusable manifest: its checksum does not match"


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
