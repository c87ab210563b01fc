"""Validation: strict types, plain messages, everything wrong at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from rankcli.config.json_schema import json_schema
from rankcli.config.load import load_config
from rankcli.config.nearest import nearest
from rankcli.config.registry import LOSSES, SAMPLERS, TRAINERS, Registry, component, option
from rankcli.config.types import NonNegativeFloat, PositiveInt, Rate
from rankcli.config.validate import component_from
from rankcli.errors import ConfigError

LOCAL = Registry("samplers")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A plain section."""

    size: PositiveInt = option(1)
    label: str = option("x")


@LOCAL.register("every-type")
@dataclass(frozen=True, kw_only=True)
class EveryType:
    """One option of every type."""

    version: ClassVar[int] = 1
    whole: int = option(1)
    count: PositiveInt | None = option(None)
    number: NonNegativeFloat = option(0.5)
    rate: Rate = option(0.0)
    switch: bool = option(False)
    text: str = option("a")
    choice: Literal["one", "two"] = option("one")
    either: PositiveInt | Literal["all"] = option(1)
    names: tuple[str, ...] = option(())
    table: dict[str, str] | None = option(None)
    part: Part | None = option(None)
    parts: tuple[Part, ...] = option(())
    more: tuple[Part, ...] | None = option(None)
    named: dict[str, Part] | None = option(None)
    loss: Any = component(LOSSES, "lce")

    def __post_init__(self) -> None:
        if self.whole == 13:
            raise ValueError("whole must not be 13")


def made(**options: Any) -> EveryType:
    built = component_from(LOCAL, {"name": "every-type", **options})
    assert isinstance(built, EveryType)
    return built


def told(**options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        made(**options)
    return str(caught.value).removeprefix("saved options: ")


def test_values_of_the_right_type_are_taken() -> None:
    built = made(count=3, number=2, choice="two", either="all", names=["a", "b"], table={"k": "v"}, part={"size": 4})
    assert (built.count, built.number, built.either, built.names) == (3, 2.0, "all", ("a", "b"))
    assert type(built.number) is float
    assert built.part == Part(size=4) and built.table == {"k": "v"}
    assert made(parts=[{"size": 2}, {}]).parts == (Part(size=2), Part())
    assert made(part=None).part is None
    assert made(named={"a": {"size": 2}, "B-1": {}}).named == {"a": Part(size=2), "B-1": Part()}
    assert made(named={}).named == {} and made().named is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"whole": "3"}, 'whole: expected a whole number, got "3"'),
        ({"whole": 3.0}, "whole: expected a whole number, got 3.0"),
        ({"whole": True}, "whole: expected a whole number, got true"),
        ({"whole": None}, "whole: expected a whole number, got null"),
        ({"count": 0}, "count: expected a whole number above 0 or null, got 0"),
        ({"number": -1.0}, "number: expected a number of at least 0, got -1.0"),
        ({"number": "nan"}, 'number: expected a number of at least 0, got "nan"'),
        ({"number": float("nan")}, "number: expected a number of at least 0, got NaN"),
        ({"number": float("inf")}, "number: expected a number of at least 0, got Infinity"),
        ({"number": True}, "number: expected a number of at least 0, got true"),
        ({"rate": 1.0}, "rate: expected a number of at least 0 below 1, got 1.0"),
        ({"switch": "true"}, 'switch: expected true or false, got "true"'),
        ({"switch": 1}, "switch: expected true or false, got 1"),
        ({"text": 3}, "text: expected text, got 3"),
        ({"choice": "three"}, 'choice: expected `one` or `two`, got "three"'),
        ({"either": "some"}, 'either: expected a whole number above 0 or `all`, got "some"'),
        ({"names": "a"}, 'names: expected a list of text, got "a"'),
        ({"names": ["a", 1]}, 'names: expected a list of text, got ["a", 1]'),
        ({"table": {"a": 1}}, 'table: expected a mapping to text or null, got {"a": 1}'),
        ({"part": 3}, "part: expected a mapping (size, label) or null, got 3"),
        ({"part": {"size": 0}}, "part.size: expected a whole number above 0, got 0"),
        ({"part": {"sise": 1}}, "part.sise: unknown key; did you mean 'size'? (there are: label, size)"),
        ({"parts": [{}, {"size": 0}]}, "parts.1.size: expected a whole number above 0, got 0"),
        ({"parts": {"size": 2}}, 'parts: expected a list of a mapping (size, label), got {"size": 2}'),
        ({"more": [{"sise": 0}]}, "more.0.sise: unknown key"),
        ({"named": {"a": {}, "b": {"size": 0}}}, "named.b.size: expected a whole number above 0, got 0"),
        ({"named": {"a": None}}, "named.a: expected a mapping (size, label), got null"),
        ({"named": {"a/b": {}}}, "named.a/b: names are letters, digits, `_` and `-`, and begin with a letter"),
        ({"named": [{}]}, "named: expected a mapping to a mapping (size, label) or null, got [{}]"),
        ({"whole": 13}, "whole must not be 13"),
        ({"loss": 3}, "loss: expected a name or a mapping with `name`, got 3"),
        ({"loss": {"name": 3}}, "loss.name: expected a name, got 3"),
        ({"loss": "lcee"}, "loss: unknown loss 'lcee'; did you mean 'lce'?"),
        ({"text": "x" * 10}, ""),
    ],
)
def test_messages_are_plain(options: dict[str, Any], message: str) -> None:
    if message:
        assert told(**options).startswith(message)
    else:
        made(**options)


def test_the_keys_of_a_section_are_listed_once() -> None:
    found = told(part={"sise": 1, "x": 2})
    assert found.count("there are: label, size") == 1 and found.endswith("part.x: unknown key")


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(told(whole="x" * 100_000)) < 120


def test_loss_keys_of_tf_ranking_are_short_for_its_component() -> None:
    assert made(loss="tfr:softmax_loss").loss == LOSSES.get("tfr")(key="softmax_loss")
    assert made(loss={"name": "tfr:softmax_loss", "temperature": 2.0}).loss.temperature == 2.0
    assert "unknown tf-ranking loss 'nonsense'" in told(loss="tfr:nonsense")


def test_a_name_may_be_an_alias() -> None:
    assert LOSSES.name_of(made(loss="pairwise_hinge_loss").loss) == "pairwise_hinge"


def test_component_from_takes_paths_as_they_are() -> None:
    from rankcli.config.registry import RERANKERS

    assert component_from(RERANKERS, {"name": "crossencoder", "pretrained": "/gone/model"}).pretrained == "/gone/model"
    assert component_from(SAMPLERS, "triplet") == SAMPLERS.get("triplet")()


HOSTILE = """\
data:
  builtin: stdlib-docs
  dcos: x
reranker: {name: os.system}
extractor: ../../x
sampler: {name: LCE, nneg: 1e999}
sampler: triplet
trainer:
  name: tensorflow
  lr: .nan
  bertlr: 1e999
  nitres: 3
  batch: "4"
  loss: !!python/object/apply:os.system ["touch %s"]
metrics: [map]
"""


def test_everything_wrong_with_a_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HOSTILE % (tmp_path / "canary"))
    with pytest.raises(ConfigError) as caught:
        load_config([tmp_path / "a.yaml"])
    lines = [line.strip().removeprefix(f"{tmp_path}/") for line in str(caught.value).split("\n")]
    assert lines.pop() == "-> see: rankcli modules data"
    assert lines[0] == f"{len(lines) - 1} errors in the configuration:"
    starts = [
        "a.yaml:3: data.dcos: unknown key; did you mean 'docs'?",
        "a.yaml:4: reranker: unknown reranker 'os.system'",
        "a.yaml:5: extractor: unknown extractor '../../x'",
        "a.yaml:6: sampler.nneg: 1e999 is not a finite number",
        "a.yaml:7: sampler: said twice: here and at line 6",
        'a.yaml:10: trainer.lr: expected a number of at least 0, got ".nan"',
        "a.yaml:11: trainer.bertlr: 1e999 is not a finite number",
        "a.yaml:12: trainer.nitres: unknown key; did you mean 'niters'?",
        'a.yaml:13: trainer.batch: expected a whole number above 0, got "4"',
        "a.yaml:14: trainer.loss: tags",
        "a.yaml:15: metrics: expected a mapping (optimize, report)",
    ]
    for start, line in zip(starts, lines[1:], strict=True):
        assert line.startswith(start)
    assert not (tmp_path / "canary").exists()


def test_what_is_missing_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([], ["sampler=LCE"])
    assert "data: is needed" in str(caught.value)
    assert "reranker: is needed: what scores a query" in str(caught.value)


def test_conflicts_between_components_are_told_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "data: {builtin: stdlib-docs}\nreranker: TFKNRM\nextractor: passage\nsampler: pair\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config([tmp_path / "a.yaml"])
    assert "a.yaml:3: extractor.name: 'passage' makes pair, but reranker 'TFKNRM' reads query, doc" in str(caught.value)
    assert "trainer.loss: needs at least 2 documents per group, but groups have 1; use a sampler" in str(caught.value)


def test_the_extractor_defaults_to_what_the_reranker_reads() -> None:
    base = ["data.builtin=stdlib-docs"]
    assert type(load_config([], [*base, "reranker=TFKNRM"])[0].extractor).__name__ == "EmbedText"
    assert type(load_config([], [*base, "reranker=crossencoder"])[0].extractor).__name__ == "Passage"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["trainer.niters=2", "trainer.validatefreq=3"], "validatefreq = 3 is above niters = 2"),
        (["trainer.batch=8", "trainer.itersize=4"], "batch = 8 is above itersize = 4"),
    ],
)
def test_defect_16_a_training_that_would_keep_nothing_is_refused(options: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=f"trainer: {told}") as caught:
        load_config([], ["data.builtin=stdlib-docs", "reranker=TFKNRM", *options])
    assert caught.value.exit_code == 2


def test_the_json_schema_describes_every_component() -> None:
    schema = json_schema()
    assert schema["required"] == ["data"] and schema["additionalProperties"] is False
    assert schema["anyOf"] == [{"required": ["reranker"]}, {"required": ["recipe"]}], "a recipe has a reranker"
    assert schema["properties"]["recipe"]["enum"] == ["small", "standard"]
    assert schema["properties"]["sampler"]["$ref"] == "#/$defs/samplers"
    trainer = next(
        s
        for s in schema["$defs"]["trainers"]["anyOf"]
        if "tensorflow" in s.get("properties", {}).get("name", {}).get("enum", ())
    )
    assert trainer["properties"]["batch"]["exclusiveMinimum"] == 0
    assert trainer["properties"]["batch"]["default"] == TRAINERS.get("tensorflow")().batch
    assert trainer["properties"]["loss"]["$ref"] == "#/$defs/losses"
    assert schema["properties"]["data"]["properties"]["folds"]["anyOf"][0]["properties"]["seed"]["default"] == 7


@pytest.mark.parametrize(
    ("name", "legal", "meant"),
    [
        ("knrm", ["TFKNRM", "biencoder"], "TFKNRM"),
        ("TFKnrm", ["TFKNRM", "biencoder"], "TFKNRM"),
        ("LR", ["trainer", "lr"], "lr"),
        ("optimiser", ["optimizer", "trainer"], "optimizer"),
        ("learner", ["trainer", "reranker"], "trainer"),
        ("lerner", ["trainer", "reranker"], "trainer"),
        ("learner", ["reranker"], ""),
        ("er", ["trainer", "reranker"], ""),
        ("foo", ["trainer"], ""),
    ],
)
def test_a_name_is_near_in_any_case_by_a_part_or_a_slip(name: str, legal: list[str], meant: str) -> None:
    assert nearest(name, legal, {"learner": "trainer"}) == meant
