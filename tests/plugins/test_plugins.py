"""Components of other packages: one file and an entry point; loaded when named, and never otherwise."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rankcli.text.weights import read_tensors, write_tensors

ROOT = Path(__file__).parents[2]

RERANKER = '''\
"""A reranker by somebody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.api import PositiveInt, RerankerOptions, option


@dataclass(frozen=True, kw_only=True)
class Theirs(RerankerOptions):
    """Scores every document with its number."""

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "passage"
    depth: PositiveInt = option(3, "how deep")

    def build(self, ctx):
        return None
'''


def install(folder: Path, dist: str, module: str, source: str, entries: str) -> None:
    """The files that an installer leaves of a package: its module and its metadata."""
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{dist}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)


def rankcli(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": path, "RANKCLI_CACHE": str(folder / "cache")}
    return subprocess.run([sys.executable, "-m", "rankcli", *args], capture_output=True, text=True, env=env, cwd=folder)


CHECK = """
import sys
from rankcli.config.load import load_config
from rankcli.config.render import resolved
config, _ = load_config([], ["data.builtin=stdlib-docs", *sys.argv[1:]])
print(resolved(config)["reranker"], resolved(config)["extractor"]["name"])
"""


def configured(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run([sys.executable, "-c", CHECK, *args], capture_output=True, text=True, env=env, cwd=folder)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    install(
        tmp_path, "their-rankers", "their_rankers", RERANKER, "[rankcli.rerankers]\ntheirs = their_rankers:Theirs\n"
    )
    return tmp_path


def test_a_reranker_of_another_package_is_one_file_and_an_entry_point(theirs: Path) -> None:
    done = configured(theirs, "reranker={name: theirs, depth: 5}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'name': 'theirs', 'depth': 5} passage\n"


SOURCE = '''\
"""A source of data by somebody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import option
from rankcli.data.source import DatasetOptions, Source, SourceContext
from rankcli.data.store import store_of


@dataclass(frozen=True, kw_only=True)
class Words(DatasetOptions):
    """Documents that are words."""

    version: ClassVar[int] = 1
    path: str = option(help="a file of words", path="file")

    def build(self, ctx: SourceContext) -> Source:
        words = open(self.path).read().split()
        docs = store_of({f"d{n}": f"{word} and more" for n, word in enumerate(words)}, self.path, ctx.scratch)
        queries = {f"q{n}": f"{word} or more" for n, word in enumerate(words)}
        qrels = {"": {f"q{n}": {f"d{n}": 1} for n in range(len(words))}}
        return Source(name=self.path, queries=queries, qrels=qrels, docs=docs, fingerprint=docs.fingerprint)
'''


def test_a_source_of_another_package_is_searched_and_sampled(tmp_path: Path) -> None:
    install(tmp_path, "their-data", "their_data", SOURCE, "[rankcli.datasets]\nwords = their_data:Words\n")
    (tmp_path / "words.txt").write_text("ant bee cat dog eel fox gnu hen ibis")
    config = "data: {source: {name: words, path: words.txt}, folds: {k: 3}}\nreranker: TFKNRM\n"
    (tmp_path / "a.yaml").write_text(config + "trainer: {niters: 1, itersize: 4, batch: 2}\n")
    done = rankcli(tmp_path, "train", "--config", "a.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    (tmp_path / "b.yaml").write_text(config.replace("path: words.txt", "path: none, x: 1"))
    done = rankcli(tmp_path, "train", "--config", "b.yaml", "--dry-run")
    assert done.returncode == 2 and "b.yaml:1: data.source.path: no such file" in done.stderr
    assert "data.source.x: unknown key" in done.stderr


def test_its_options_are_validated_like_ours(theirs: Path) -> None:
    done = configured(theirs, "reranker={name: theirs, dpeth: 5, depth: 0}")
    assert "reranker.dpeth: unknown key; did you mean 'depth'?" in done.stderr
    assert "reranker.depth: expected a whole number above 0, got 0" in done.stderr


def test_it_is_listed_with_its_package_and_described_when_named(theirs: Path) -> None:
    done = rankcli(theirs, "modules", "rerankers")
    assert "theirs" in done.stdout and "(of their-rankers)" in done.stdout
    done = rankcli(theirs, "modules", "rerankers", "theirs", "--json")
    assert json.loads(done.stdout)["options"][0] == {
        "name": "depth",
        "type": "PositiveInt",
        "default": 3,
        "required": False,
        "help": "how deep",
    }


def test_a_near_miss_of_its_name_is_suggested(theirs: Path) -> None:
    assert "did you mean 'theirs'?" in configured(theirs, "reranker=thiers").stderr


def hostile(folder: Path, canary: Path) -> None:
    source = f"open({str(canary)!r}, 'w').close()\nraise SystemExit('hostile')\n"
    entries = "".join(
        f"[rankcli.{kind}]\nhostile = hostile_module:X\n" for kind in ("rerankers", "samplers", "trainers")
    )
    install(folder, "hostile-package", "hostile_module", source, entries)


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["modules"],
        ["modules", "--json"],
        ["modules", "samplers"],
        ["modules", "samplers", "LCE"],
        ["modules", "samplers", "hostil"],
        ["schema"],
        ["doctor"],
        ["train", "--config", "a.yaml", "trainer.niters=0"],
    ],
)
def test_a_plugin_that_is_not_named_is_never_imported(args: list[str], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    hostile(tmp_path, canary)
    (tmp_path / "a.yaml").write_text("data: {builtin: stdlib-docs}\nreranker: TFKNRM\nsampler: LCE\n")
    done = rankcli(tmp_path, *args)
    assert done.returncode in (0, 2), done.stderr
    assert not canary.exists()
    assert rankcli(tmp_path, "modules", "samplers", "hostile").returncode != 0
    assert canary.exists()  # the plant works: it is imported when it is asked for


def test_a_builtin_name_cannot_be_taken_by_a_plugin(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    install(
        tmp_path, "taker", "taker", f"open({str(canary)!r}, 'w').close()\n", "[rankcli.rerankers]\nTFKNRM = taker:X\n"
    )
    done = configured(tmp_path, "reranker=TFKNRM")
    assert done.returncode == 0 and "'TFKNRM'" in done.stdout
    assert not canary.exists()
    assert "taker" not in rankcli(tmp_path, "modules", "rerankers").stdout


def test_two_packages_with_one_name_are_refused(theirs: Path) -> None:
    install(theirs, "other-rankers", "other_rankers", RERANKER, "[rankcli.rerankers]\ntheirs = other_rankers:Theirs\n")
    done = configured(theirs, "reranker=theirs")
    assert "reranker 'theirs' is offered by" in done.stderr and "uninstall one of them" in done.stderr


NO_BASE = RERANKER.replace("Theirs(RerankerOptions)", "Theirs")


@pytest.mark.parametrize(
    "source", ["import no_such_module_anywhere", "Theirs = 3", "class Theirs: pass", "x = 1", NO_BASE]
)
def test_a_broken_plugin_is_an_error_that_names_it(tmp_path: Path, source: str) -> None:
    install(tmp_path, "broken", "broken", source, "[rankcli.rerankers]\ntheirs = broken:Theirs\n")
    done = rankcli(tmp_path, "modules", "rerankers", "theirs")
    assert done.returncode == 4, done.stderr
    assert "reranker 'theirs' of broken:Theirs cannot be loaded" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_package_installed_with_pip_is_found(tmp_path: Path) -> None:
    if not all(importlib.util.find_spec(name) for name in ("pip", "setuptools", "wheel")):
        pytest.skip("needs pip, setuptools and wheel")
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "pip_rankers.py").write_text(RERANKER)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "pip-rankers"\nversion = "1.0"\n'
        '[project.entry-points."rankcli.rerankers"]\ntheirs = "pip_rankers:Theirs"\n'
        '[tool.setuptools]\npy-modules = ["pip_rankers"]\n'
    )
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, capture_output=True)
    assert configured(target, "reranker=theirs").stdout == "{'name': 'theirs', 'depth': 3} passage\n"


FAMILY = '''\
"""An encoder family by somebody else."""

from rankcli.encoders.families.bert import Bert


class Theirs(Bert):
    """BERT under another name, with a prefix of its own."""

    prefix = "their_model"
    architecture = "TheirModel"
'''

OPENED = """
import sys
from pathlib import Path
from rankcli.encoders.build import Pretrained, build_encoder
pretrained = Pretrained(Path(sys.argv[1]))
encoder = build_encoder(pretrained.config, pretrained)
print(type(pretrained.family).__name__, encoder.config.kind, len(encoder.parameters.variables))
"""


def test_an_encoder_family_of_another_package_is_one_file_and_an_entry_point(tmp_path: Path) -> None:
    entries = "[rankcli.encoders]\ntheirs = their_family:Theirs\n"
    install(tmp_path, "their-encoders", "their_family", FAMILY, entries)
    model = tmp_path / "model"
    model.mkdir()
    golden = ROOT / "tests/golden/encoders/bert"
    config = json.loads((golden / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "model_type": "theirs"}))
    write_tensors(model, {f"their_model.{name}": value for name, value in read_tensors(golden).items()})
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    args = [sys.executable, "-c", OPENED, str(model)]
    done = subprocess.run(args, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Theirs theirs 29\n"
