"""Layers of configuration: extends, repeated files, KEY=VALUE arguments, and where each value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rankcli.config import switch
from rankcli.config.load import load_config, load_saved, read_layers
from rankcli.config.problems import Place
from rankcli.config.render import resolved, to_yaml
from rankcli.config.strict_yaml import plain, planted
from rankcli.config.switch import kept_options
from rankcli.errors import ConfigError

BASE = """\
data: {builtin: stdlib-docs}
reranker: TFKNRM
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def layers(files: list[Path], overrides: list[str] | None = None) -> Any:
    tree, problems = read_layers(files, overrides or [])
    assert problems == []
    return plain(tree)


def test_a_later_file_wins_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, a="x: {p: 1, q: 2}\ny: 1", b="x: {q: 3}\nz: [1]")
    assert layers([tmp_path / "a.yaml", tmp_path / "b.yaml"]) == {"x": {"p": 1, "q": 3}, "y": 1, "z": [1]}


def test_extends_are_read_first_in_their_order_and_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, a="v: a\nonly_a: 1", b="v: b\nonly_b: 1")
    write(tmp_path / "sub", c="extends: [../a.yaml, ../b.yaml]\nw: c")
    assert layers([tmp_path / "sub" / "c.yaml"]) == {"v": "b", "only_a": 1, "only_b": 1, "w": "c"}


def test_extends_that_lead_back_are_refused_with_their_line(tmp_path: Path) -> None:
    write(tmp_path, a="x: 1\nextends: b.yaml", b="extends: a.yaml")
    with pytest.raises(ConfigError, match=r"b\.yaml:1: extends: a\.yaml leads back to itself"):
        read_layers([tmp_path / "a.yaml"])


def test_the_same_file_may_be_extended_twice_but_not_a_hundred_times(tmp_path: Path) -> None:
    write(tmp_path, a="x: 1", b="extends: a.yaml", c="extends: [a.yaml, b.yaml]")
    assert layers([tmp_path / "c.yaml"]) == {"x": 1}
    write(tmp_path, **{f"d{n}": f"extends: [d{n + 1}.yaml, d{n + 1}.yaml]" for n in range(30)}, d30="x: 1")
    with pytest.raises(ConfigError, match="more than 100 files"):
        read_layers([tmp_path / "d0.yaml"])


@pytest.mark.parametrize("text", ["extends: 3", "extends: [a, 3]", "extends: {a: b}", "extends: none.yaml", "extends:"])
def test_extends_must_name_files_that_are_there(tmp_path: Path, text: str) -> None:
    write(tmp_path, a=text)
    with pytest.raises(ConfigError, match=r"a\.yaml:1: extends: "):
        read_layers([tmp_path / "a.yaml"])


def test_arguments_are_read_as_the_same_yaml(tmp_path: Path) -> None:
    said = ["a.b=2", "a.c=1e-5", "d=[1, x]", "e={f: true}", "g=NO", "h=", "i=x=y", "j=0x1"]
    assert layers([], said) == {
        "a": {"b": 2, "c": 1e-5},
        "d": [1, "x"],
        "e": {"f": True},
        "g": "NO",
        "h": None,
        "i": "x=y",
        "j": "0x1",
    }


@pytest.mark.parametrize("said", ["niters", "=3", "a..b=1", "a b=1", ".a=1", "--x=1"])
def test_an_argument_that_is_not_key_value_is_refused(said: str) -> None:
    with pytest.raises(ConfigError, match="is not KEY=VALUE"):
        read_layers([], [said])


def test_problems_of_an_argument_name_its_key() -> None:
    _, problems = read_layers([], ["a.b=!!str x", "a.c={d: &x 1}"])
    assert [".".join(problem.keys) for problem in problems] == ["a.b", "a.c.d"]


@pytest.mark.parametrize(
    ("below", "above", "together"),
    [
        ("{name: LCE, nneg: 3}", "triplet", "triplet"),
        ("{name: LCE, nneg: 3}", "LCE", {"name": "LCE", "nneg": 3}),
        ("{name: LCE, nneg: 3}", "{name: pair}", {"name": "pair"}),
        ("{name: LCE, nneg: 3}", "{name: LCE, seed: 1}", {"name": "LCE", "nneg": 3, "seed": 1}),
        ("{name: LCE, nneg: 3}", "{nneg: 4}", {"name": "LCE", "nneg": 4}),
        ("{nneg: 3}", "{name: LCE}", {"nneg": 3, "name": "LCE"}),
    ],
)
def test_another_name_replaces_a_component_and_the_same_name_adds_to_it(
    below: str, above: str, together: object
) -> None:
    assert layers([], [f"s={below}", f"s={above}"])["s"] == together


def test_metrics_may_have_the_names_of_ir_measures_and_wrong_ones_name_their_line(tmp_path: Path) -> None:
    write(tmp_path, a=BASE + "metrics: {optimize: nDCG@10, report: [AP, RR@10, map]}")
    config, _ = load_config([tmp_path / "a.yaml"], ["trainer.listeners=[{name: validation, metrics: [P@5]}]"])
    assert config.metrics.all == ("ndcg_cut_10", "map", "RR@10")
    assert config.trainer.listeners[0].metrics == ("P_5",)
    write(tmp_path, b=BASE + "metrics:\n  report: [ndgc_cut_10]")
    with pytest.raises(ConfigError, match=r"b\.yaml:[34]: metrics: unknown metric 'ndgc_cut_10'; did you"):
        load_config([tmp_path / "b.yaml"])


MODEL = "hub/model"


@pytest.mark.parametrize(
    ("below", "argument", "together", "said"),
    [
        (
            f"reranker: {{name: biencoder, pretrained: {MODEL}, pooling: cls, scale: 2}}",
            "reranker=crossencoder",
            {"reranker": {"name": "crossencoder", "pretrained": MODEL}},
            "reranker=crossencoder: without pooling, scale of biencoder, which crossencoder does not have\n",
        ),
        (
            f"reranker: {{name: biencoder, pretrained: {MODEL}}}",
            "reranker={name: TFVanillaBERT, dropout: 0.2}",
            {"reranker": {"name": "TFVanillaBERT", "pretrained": MODEL, "dropout": 0.2}},
            "",
        ),
        (
            f"reranker: {{name: biencoder, pretrained: {MODEL}}}",
            "reranker=TFKNRM",
            {"reranker": "TFKNRM"},
            "reranker=TFKNRM: without pretrained of biencoder, which TFKNRM does not have\n",
        ),
        (
            "trainer: {niters: 2, tasks: {rank: {sampler: {name: LCE, nneg: 3, neg_to: 9}}}}",
            "trainer.tasks.rank.sampler=triplet",
            {"trainer": {"niters": 2, "tasks": {"rank": {"sampler": {"name": "triplet", "neg_to": 9}}}}},
            "trainer.tasks.rank.sampler=triplet: without nneg of LCE, which triplet does not have\n",
        ),
        (
            "trainer: {niters: 2, batch: 8}",
            "trainer=pointwise",
            {"trainer": {"name": "pointwise", "niters": 2, "batch": 8}},
            "",
        ),
        ("reranker: {name: biencoder, pooling: cls}", "reranker=nothing", {"reranker": "nothing"}, ""),
    ],
)
def test_an_argument_that_names_another_component_keeps_the_options_of_both(
    below: str, argument: str, together: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, a=below)
    assert layers([tmp_path / "a.yaml"], [argument]) == together
    assert capsys.readouterr().err == said


def test_an_option_of_the_same_name_and_another_type_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    below = planted({"scale": 2, "depth": 3}, Place("x")).value
    types = {"new": {"scale": int, "depth": int}, "old": {"scale": float, "depth": int}}
    monkeypatch.setattr(switch, "_types", lambda _, name: types[name])
    assert kept_options(("loss",), below, "old", "new").keys() == {"depth"}
    assert capsys.readouterr().err == "loss=new: without scale of old, which new does not have\n"


def test_options_may_be_laid_over_a_bare_name(tmp_path: Path) -> None:
    write(tmp_path, a=BASE + "sampler: LCE\ntrainer: {loss: pairwise_hinge}")
    config, _ = load_config(
        [tmp_path / "a.yaml"], ["sampler.nneg=3", "trainer.loss.margin=2", "reranker.finetune=false"]
    )
    assert config.sampler.nneg == 3 and config.trainer.loss.margin == 2.0
    assert type(config.reranker).__name__ == "KNRM" and config.reranker.finetune is False
    config, _ = load_config([tmp_path / "a.yaml"], ["trainer.loss.margin=2", "trainer.loss.margin=3"])
    assert config.trainer.loss.margin == 3.0


def test_a_section_without_a_name_is_the_default_component(tmp_path: Path) -> None:
    write(tmp_path, a=BASE + "trainer: {niters: 3}\nextractor: {maxqlen: 16}")
    config, _ = load_config([tmp_path / "a.yaml"], ["sampler.nneg=3"])
    assert type(config.sampler).__name__ == "LCE" and config.sampler.nneg == 3
    assert config.trainer.niters == 3 and config.extractor.maxqlen == 16


def test_provenance_says_where_each_value_was_last_said(tmp_path: Path) -> None:
    write(tmp_path, a=BASE + "trainer:\n  niters: 3\n  itersize: 64", b="extends: a.yaml\ntrainer: {niters: 4}")
    _, provenance = load_config([tmp_path / "b.yaml"], ["trainer.batch=2"])
    assert provenance == {
        "data.builtin": f"{tmp_path / 'a.yaml'}:1",
        "reranker": f"{tmp_path / 'a.yaml'}:2",
        "trainer.niters": f"{tmp_path / 'b.yaml'}:2",
        "trainer.itersize": f"{tmp_path / 'a.yaml'}:5",
        "trainer.batch": "command line",
    }


def files_for(folder: Path) -> None:
    for name in ("docs.jsonl", "queries.jsonl", "qrels.txt", "first.run"):
        (folder / name).write_text("x")


DATA = "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3}%s}\nreranker: %s\n"


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "cwd" / "model").mkdir(parents=True)
    files_for(tmp_path / "conf")
    write(tmp_path / "conf", a=DATA % (", run: first.run", "TFKNRM"))
    write(tmp_path, b="extends: conf/a.yaml")
    monkeypatch.chdir(tmp_path / "cwd")
    (tmp_path / "cwd" / "mine.run").write_text("x")
    config, _ = load_config([tmp_path / "b.yaml"])
    assert config.data.docs == str(tmp_path / "conf" / "docs.jsonl")
    assert config.data.run == str(tmp_path / "conf" / "first.run")
    config, _ = load_config(["../b.yaml"], ["data.run=mine.run", "reranker={name: crossencoder, pretrained: model}"])
    assert config.data.run == str(tmp_path / "cwd" / "mine.run")
    assert config.reranker.pretrained == str(tmp_path / "cwd" / "model")


def test_what_is_no_local_path_is_left_alone(tmp_path: Path) -> None:
    files_for(tmp_path)
    write(tmp_path, a=DATA % ("", "{name: crossencoder, pretrained: cross-encoder/ms-marco}"))
    config, _ = load_config(
        [tmp_path / "a.yaml"], ["data.docs=ir_datasets:vaswani", "data.qrels=gs://bucket/qrels.txt"]
    )
    assert config.data.docs == "ir_datasets:vaswani" and config.data.qrels == "gs://bucket/qrels.txt"
    assert config.reranker.pretrained == "cross-encoder/ms-marco"


def test_named_paths_that_are_not_there_are_told_together_with_their_lines(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="data:\n  docs: d.jsonl\n  queries: q.jsonl\n  qrels: {train: a, dev: b, test: c}\n  run: bm52\n"
        "reranker: {name: crossencoder, pretrained: ./nowhere}",
    )
    with pytest.raises(ConfigError) as caught:
        load_config([tmp_path / "a.yaml"])
    told = str(caught.value)
    assert "7 errors" in told
    for part in (
        f"a.yaml:2: data.docs: no such file: {tmp_path / 'd.jsonl'}",
        "a.yaml:3: data.queries: no such file",
        "a.yaml:4: data.qrels.dev: no such file",
        "a.yaml:5: data.run: neither a searcher, did you mean 'bm25'? (there are: bm25, dense, fuse), nor a run file",
        "a.yaml:6: reranker.pretrained: no such directory",
    ):
        assert part in told


def test_a_path_with_impossible_characters_does_not_crash(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(
            [], ['data.docs="\\0"', f"data.queries={'x' * 5000}", "data.qrels=~no_such_user/x", "reranker=TFKNRM"]
        )


def test_a_saved_configuration_is_read_though_its_files_are_gone(tmp_path: Path) -> None:
    files_for(tmp_path)
    write(tmp_path, a=DATA % (", run: first.run", "{name: crossencoder, pretrained: ./model}"))
    (tmp_path / "model").mkdir()
    config, _ = load_config([tmp_path / "a.yaml"])
    (tmp_path / "saved.yaml").write_text(to_yaml(resolved(config)))
    for name in ("docs.jsonl", "first.run"):
        (tmp_path / name).unlink()
    (tmp_path / "model").rmdir()
    assert load_saved(tmp_path / "saved.yaml") == config
    with pytest.raises(ConfigError, match="3 errors"):
        load_config([tmp_path / "saved.yaml"])
