"""Other weights to start from: what is loaded of them, bit by bit, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.cli import run
from rankcli.config.schema import RunConfig
from rankcli.encoders.build import open_models
from rankcli.errors import ConfigError, Interrupted, MissingError, RankcliError, StorageError
from rankcli.listeners.base import Moment
from rankcli.rerankers.base import Reranker, RerankerContext
from rankcli.rerankers.saved import save_reranker, sections_of
from rankcli.runs.prepare import Prepared, checked, prepare
from rankcli.text.weights import read_tensors, write_tensors
from rankcli.training.variables import open_variables
from rankcli.verbs.train import train

TWO_LAYERS = "reranker.encoder.layers=2"


def reranker_of(prepared: Prepared, seed: int) -> Reranker:
    """The model of the config, with initial weights of its own."""
    built: Reranker = prepared.start.reranker.build(
        RerankerContext(prepared.start.extractor, seed, models=open_models(prepared.start.models))
    )
    return built


def saved(config: RunConfig, directory: Path, seed: int = 9) -> Path:
    """A directory of the config's reranker with the random weights of a seed."""
    prepared = prepare(config)
    sections = sections_of(config.reranker, config.extractor)
    save_reranker(reranker_of(prepared, seed), prepared.start.extractor, sections, directory)
    return directory


def loaded(config: RunConfig) -> tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The messages, and the variables before and after."""
    prepared = prepare(config)
    reranker = reranker_of(prepared, seed=1)
    before = {path: variable.numpy() for path, variable in reranker.variables.items()}
    told = prepared.start.initialise(reranker)
    return told, before, {path: variable.numpy() for path, variable in reranker.variables.items()}


def rewritten(source: Path, target: Path, change: Any) -> Path:
    """A copy of a model directory whose tensors `change` has altered."""
    shutil.copytree(source, target)
    tensors = read_tensors(source)
    change(tensors)
    write_tensors(target, tensors)
    return target


def variables_of(config: RunConfig, seed: int) -> dict[str, np.ndarray]:
    return {path: variable.numpy() for path, variable in reranker_of(prepare(config), seed).variables.items()}


def differing(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> set[str]:
    assert one.keys() == other.keys()
    return {path for path in one if one[path].tobytes() != other[path].tobytes()}


@pytest.mark.parametrize("name", ["crossencoder", "TFBERTMaxP", "biencoder", "TFKNRM"])
def test_all_variables_are_those_of_the_model_bit_by_bit(name: str, tiny: Any, tmp_path: Path) -> None:
    model = saved(tiny(name), tmp_path / "model")
    told, before, after = loaded(tiny(name, f"init.model={model}"))
    assert told == f"initial weights from {model}: {len(after)} of {len(after)} variables"
    theirs = variables_of(tiny(name), seed=9)
    assert differing(after, theirs) == set()
    assert (
        "encoder/word_embeddings" in differing(before, after)
        or "classifier/kernel" in {*differing(before, after)}
        or (name == "biencoder")
    )


@pytest.fixture
def model(tiny: Any, tmp_path: Path) -> Path:
    """A saved cross-encoder of seed 9."""
    return saved(tiny("crossencoder"), tmp_path / "model")


def test_a_hugging_face_directory_gives_its_head_and_one_of_two_labels_their_difference(
    tiny: Any, model: Path, capsys: Any
) -> None:
    theirs = variables_of(tiny("crossencoder"), seed=9)

    def two_labels(tensors: dict[str, np.ndarray]) -> None:
        for part in ("weight", "bias"):
            one = tensors[f"classifier.{part}"]
            tensors[f"classifier.{part}"] = np.concatenate([one, 2 * one])

    two = rewritten(model, model.parent / "two", two_labels)
    for directory in (model, two):
        (directory / "rankcli.json").unlink()
        told, _, after = loaded(tiny("crossencoder", f"init.model={directory}"))
        assert told.endswith(f"{len(after)} of {len(after)} variables")
        assert differing(after, theirs) == set()
    assert "a classifier of two labels" in capsys.readouterr().err


def test_only_what_is_asked_for_is_loaded_and_the_rest_keeps_its_usual_weights(tiny: Any, model: Path) -> None:
    told, before, after = loaded(tiny("crossencoder", f"init.model={model}", "init.only=qkv/kernel|^classifier/"))
    wanted = {"encoder/layer_0/attention/qkv/kernel", "classifier/kernel", "classifier/bias"}
    assert "3 of 21 variables" in told
    assert differing(before, after) == wanted - {"classifier/bias"}  # that is 0 in both
    theirs = variables_of(tiny("crossencoder"), seed=9)
    assert wanted.isdisjoint(differing(after, theirs))


def test_a_run_gives_the_weights_that_are_asked_for(tiny: Any, tmp_path: Path) -> None:
    source = tmp_path / "run"
    train(tiny("crossencoder", "trainer.niters=2", "trainer.itersize=2"), out=source)
    result = json.loads((source / "result.json").read_text())
    found = {}
    for weights in ("best", "best:map", "last", "iter:1", "iter:2"):
        told, _, found[weights] = loaded(tiny("crossencoder", f"init.model={source}", f"init.weights={weights}"))
        assert "21 of 21 variables" in told
    for weights, metric in (("best", "ndcg_cut_10"), ("best:map", "map")):
        _, _, kept = loaded(tiny("crossencoder", f"init.model={source / result['best'][metric]['path']}"))
        assert differing(found[weights], kept) == set()
    for number in (1, 2):
        kept = dict(open_variables(source / f"checkpoints/iter-{number:05d}"))
        assert differing(found[f"iter:{number}"], kept) == set()
    assert differing(found["last"], found["iter:2"]) == set()
    assert differing(found["iter:1"], found["iter:2"]) != set()
    # a checkpoint's names are variable paths; a bi-encoder's encoder has the same
    only = ["init.only=embeddings/layer_norm/gamma", "init.map={'^encoder/layer_0/layer_norm/gamma$': moved}"]
    for rules, unused in ((only[:1], 4), (only, 5)):
        told, _, _ = loaded(tiny("biencoder", f"init.model={source}", "init.weights=last", *rules))
        assert f"1 of 17 variables; not used: {unused} (classifier/bias; classifier/kernel; " in told
    for weights, error in (("iter:7", MissingError), ("best:P_5", MissingError), ("newest", ConfigError)):
        with pytest.raises(error):
            loaded(tiny("crossencoder", f"init.model={source}", f"init.weights={weights}"))


def test_names_are_mapped_from_the_file_s_to_ours(tiny: Any, model: Path) -> None:
    def renamed(tensors: dict[str, np.ndarray]) -> None:
        for name in list(tensors):
            tensors[name.replace("bert.", "question.model.").replace("classifier", "head.0")] = tensors.pop(name)

    other = rewritten(model, model.parent / "other", renamed)
    rules = r"init.map={'^question\.model\.': '', '^head\.(\d)': classifier}"
    told, _, after = loaded(tiny("crossencoder", f"init.model={other}", rules))
    assert "21 of 21 variables" in told
    assert differing(after, variables_of(tiny("crossencoder"), seed=9)) == set()
    with pytest.raises(ConfigError, match="'nowhere' changes none of the names"):
        loaded(tiny("crossencoder", f"init.model={other}", "init.map={nowhere: there}"))
    with pytest.raises(ConfigError, match="several weights one name: x"):
        loaded(tiny("crossencoder", f"init.model={other}", "init.map={'.*': x}"))


def test_what_does_not_match_is_listed_and_nothing_is_set(tiny: Any, model: Path) -> None:
    def damaged(tensors: dict[str, np.ndarray]) -> None:
        tensors["surplus"] = tensors.pop("classifier.bias")
        tensors["bert.pooler.dense.weight"] = np.ones((3, 16), np.float32)
        del tensors["bert.encoder.layer.0.attention.self.key.bias"]

    bad = rewritten(model, model.parent / "bad", damaged)
    config = tiny("crossencoder", f"init.model={bad}")
    prepared = prepare(config)
    reranker = reranker_of(prepared, seed=1)
    before = {path: variable.numpy() for path, variable in reranker.variables.items()}
    with pytest.raises(StorageError) as refused:
        prepared.start.initialise(reranker)
    assert refused.value.what.splitlines() == [
        "18 of the 21 variables that are wanted match",
        "    missing: encoder.layer.0.attention.self.key.bias (of encoder/layer_0/attention/qkv/bias); "
        "classifier.bias (of classifier/bias)",
        "    shapes: pooler.dense.weight has shape [3, 16], not [16, 16]",
        "    unexpected: surplus",
    ]
    assert differing(before, {path: variable.numpy() for path, variable in reranker.variables.items()}) == set()
    told, before, after = loaded(tiny("crossencoder", f"init.model={bad}", "init.strict=false"))
    assert told.startswith(f"initial weights from {bad}: 18 of 21 variables; missing: 2 (")
    assert "; other shapes: 1 (pooler.dense.weight has shape" in told and told.endswith("; not used: 1 (surplus)")
    theirs = variables_of(tiny("crossencoder"), seed=9)
    assert differing(after, theirs) == {"encoder/pooler/kernel"}  # the other two are 0 in both
    assert after["encoder/pooler/kernel"].tobytes() == before["encoder/pooler/kernel"].tobytes()


@pytest.mark.parametrize("strict", ["true", "false"])
def test_weights_of_which_nothing_matches_are_refused(strict: str, tiny: Any, model: Path) -> None:
    with pytest.raises(StorageError, match="0 of the 5 variables that are wanted match"):
        loaded(tiny("TFKNRM", f"init.model={model}", f"init.strict={strict}"))


def test_another_encoder_or_vocabulary_is_one_error_that_says_what_to_do(tiny: Any, model: Path) -> None:
    wider = ["reranker.encoder.hidden=32", "reranker.encoder.heads=4"]
    with pytest.raises(
        ConfigError, match="hidden_size 16, here 32; embedding_size 16, here 32; heads 2, here 4"
    ) as refused:
        loaded(tiny("crossencoder", f"init.model={model}", *wider))
    assert refused.value.exit_code == 2 and f"set reranker.pretrained to {model}" in refused.value.fix
    # equal shapes are not enough: it would compute something else
    with pytest.raises(ConfigError, match="heads 2, here 4"):
        loaded(tiny("crossencoder", f"init.model={model}", wider[1], "init.strict=false"))
    cased = "extractor.lowercase=false"
    with pytest.raises(ConfigError, match="of another vocabulary"):
        loaded(tiny("crossencoder", f"init.model={model}", cased))
    told, _, _ = loaded(tiny("crossencoder", f"init.model={model}", cased, "init.only=^(?!.*word_embeddings)"))
    assert "20 of 21 variables" in told
    told, _, _ = loaded(tiny("crossencoder", f"init.model={model}", *wider, cased, "init.only=^classifier/bias"))
    assert "1 of 21 variables" in told
    # what the advice says works
    told, _, _ = loaded(tiny("crossencoder", f"init.model={model}", f"reranker.pretrained={model}", *wider, cased))
    assert "21 of 21 variables" in told


def test_each_encoder_is_compared_with_its_own_in_the_saved_model(tiny: Any, tmp_path: Path) -> None:
    also = "reranker.also={second: {encoder: {layers: 1, hidden: %d, heads: 2, intermediate: 12}}}"
    model = saved(tiny("biencoder", also % 8), tmp_path / "model")
    said, _, _ = loaded(tiny("biencoder", also % 8, f"init.model={model}"))
    assert said.endswith(": 34 of 34 variables")
    with pytest.raises(ConfigError, match="is of another encoder: hidden_size 8, here 12; embedding_size 8, here 12"):
        loaded(tiny("biencoder", also % 12, f"init.model={model}"))


def test_fewer_layers_take_theirs_and_more_are_missing(tiny: Any, model: Path) -> None:
    deep = saved(tiny("crossencoder", TWO_LAYERS), model.parent / "deep")
    told, _, _ = loaded(tiny("crossencoder", f"init.model={deep}"))
    assert "21 of 21 variables; not used: 16 (encoder.layer.1." in told
    with pytest.raises(StorageError, match=r"missing: encoder\.layer\.1\."):
        loaded(tiny("crossencoder", TWO_LAYERS, f"init.model={model}"))


def test_the_run_id_is_of_what_is_loaded_not_of_where_it_lies(tiny: Any, model: Path) -> None:
    moved = model.parent / "moved"
    shutil.copytree(model, moved)
    other = saved(tiny("crossencoder"), model.parent / "other", seed=10)
    plain = prepare(tiny("crossencoder"))
    assert "init" not in plain.identity.content

    def run_id(*overrides: str) -> str:
        return prepare(tiny("crossencoder", *overrides)).identity.run_id

    here = run_id(f"init.model={model}")
    assert here == run_id(f"init.model={moved}") == run_id(f"init.model={moved}", "init.strict=false")
    rules = ["init.map={'^bert\\.': ''}", "init.map={'^bert\\.': 'b.', '^b\\.': ''}", "init.only=^encoder"]
    ids = {
        plain.identity.run_id,
        here,
        run_id(f"init.model={other}"),
        *(run_id(f"init.model={model}", rule) for rule in rules),
    }
    assert len(ids) == 6


def trained(config: RunConfig, out: Path) -> dict[str, bytes]:
    """All numbers of the last checkpoint after a training: weights and optimizer slots."""
    train(config, out=out)
    newest = max((out / "checkpoints").glob("iter-*"), key=lambda path: path.name)
    reader = tf.train.load_checkpoint(str(newest / "ckpt"))
    keys = [key for key in reader.get_variable_to_shape_map() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    return {key: np.asarray(reader.get_tensor(key)).tobytes() for key in keys}


def test_a_run_that_started_from_another_resumes_to_the_same_bits(tiny: Any, tmp_path: Path, on_step: Any) -> None:
    train(tiny("crossencoder", "trainer.niters=1", "trainer.itersize=4"), out=tmp_path / "first")
    config = tiny("crossencoder", f"init.model={tmp_path / 'first'}", "init.weights=last", "trainer.itersize=4")
    whole = trained(config, tmp_path / "whole")
    plain = trained(tiny("crossencoder", "trainer.itersize=4"), tmp_path / "plain")
    assert plain.keys() == whole.keys() and plain != whole

    def stopping(now: Moment, done: Any) -> None:
        if now.step == 3 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise Interrupted("killed here", signum=9)

    on_step(stopping)
    with pytest.raises(Interrupted, match="killed here"):
        train(config, out=tmp_path / "cut")
    assert trained(config, tmp_path / "cut") == whole
    assert (tmp_path / "cut/test.run").read_bytes() == (tmp_path / "whole/test.run").read_bytes()


def test_a_frozen_group_keeps_the_bits_that_were_loaded(tiny: Any, model: Path, tmp_path: Path) -> None:
    groups = "trainer={groups: [{pattern: ^encoder/, freeze: true}, {pattern: '', lr: 0.01}], niters: 1, itersize: 2}"
    config = tiny("crossencoder", f"init.model={model}", "trainer.bertlr=2e-5", "trainer.lr=1e-3", groups)
    train(config, out=tmp_path / "run")
    theirs, after = variables_of(config, seed=9), dict(open_variables(tmp_path / "run/checkpoints/iter-00001"))
    changed = differing(theirs, after)
    assert changed and not any(path.startswith("encoder/") for path in changed)


def test_a_dry_run_says_what_would_be_loaded_and_from_where(
    tiny: Any, model: Path, tmp_path: Path, capsys: Any
) -> None:
    tiny("crossencoder")
    args = ["train", "--config", str(tmp_path / "crossencoder.yaml"), "--dry-run", "--init-from", str(model)]
    assert run([*args, "init.only=^classifier", "--json"]) == 0
    line = f"initial weights from {model}: 2 of 21 variables"
    assert json.loads(capsys.readouterr().out)["initial"] == line
    assert run(args) == 0
    out = capsys.readouterr().out
    assert f"  {line.replace('2 of', '21 of')}\n" in out and f"    model: {model}" in out
    assert not (tmp_path / "runs").exists()


def test_queries_that_the_weights_were_trained_on_are_counted(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    quick = ("trainer.niters=1", "trainer.itersize=2")
    train(tiny("TFKNRM", *quick), out=tmp_path / "first")
    again = (*quick, f"init.model={tmp_path / 'first'}")
    capsys.readouterr()
    train(tiny("TFKNRM", *again), out=tmp_path / "same", dry_run=True)
    assert "were trained on" not in capsys.readouterr().err
    train(tiny("TFKNRM", *again, "data.folds.fold=1"), out=tmp_path / "other", dry_run=True)
    err = capsys.readouterr().err
    assert "4 of 4 dev queries were trained on" in err and "test queries were trained on" not in err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("init={only: x}", "init.model: is needed"),
        ("init={model: ./none}", "init.model: no such directory"),
        ("init={model: ., only: '('}", r"only: '\(' to '' is no regular expression"),
        ("init={model: ., map: {a: '\\2'}}", "map: 'a' .* is no regular expression: invalid group reference 2"),
        ("init={model: ., weights: last}", "init.weights last needs a run directory"),
        ("init={model: ., only: nothing-has-this}", "is in no variable path: encoder/word_embeddings, "),
    ],
)
def test_options_that_cannot_be_right_are_usage_errors(override: str, said: str, tiny: Any) -> None:
    with pytest.raises(RankcliError, match=said) as refused:
        loaded(tiny("TFKNRM", override))
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("wrong", "error"),
    [("init.map={nowhere: x}", ConfigError), ("init.model=EMPTY", MissingError), ("init.weights=iter:3", ConfigError)],
)
def test_weights_that_cannot_be_taken_are_told_before_anything_is_made(
    wrong: str, error: type[RankcliError], tiny: Any, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    wrong = wrong.replace("EMPTY", str(tmp_path / "empty"))
    with pytest.raises(error):
        train(tiny("crossencoder", f"init.model={model}", wrong), out=tmp_path / "run")
    assert not (tmp_path / "run").exists() and not (tmp_path / "cache/records").exists()


def test_random_weights_of_an_encoder_are_a_warning_with_the_learning_rate(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked(tiny("crossencoder"))
    said = capsys.readouterr().err
    assert "warning: the encoder starts from random weights, as reranker.pretrained is not given" in said
    assert "its learning rate is trainer.bertlr 0.001 (" in said
    model = saved(tiny("crossencoder"), tmp_path / "model")
    checked(tiny("TFKNRM"))
    assert "random weights" not in capsys.readouterr().err
    checked(tiny("crossencoder", f"reranker.pretrained={model}"))
    assert "starts from random weights" not in capsys.readouterr().err
    checked(tiny("biencoder", "reranker.query={encoder: {hidden: 16}}"))
    said = capsys.readouterr().err
    assert "encoders start from random weights, as reranker.pretrained and reranker.query.pretrained are not" in said
