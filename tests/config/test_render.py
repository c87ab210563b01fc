"""Configurations written out are valid configurations again, and the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankcli.config.load import load_config
from rankcli.config.problems import Place
from rankcli.config.registry import RERANKERS, TRAINERS
from rankcli.config.render import marked, resolved, section, to_yaml
from rankcli.config.strict_yaml import plain, read_text
from rankcli.config.validate import component_from

BASE = ["data.builtin=stdlib-docs"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        [
            "true",
            "null",
            "~",
            "",
            "1e5",
            "012",
            "a: b",
            "- a",
            "#x",
            "ir_datasets:a/b",
            "x:",
            "<<",
            "\x85",
            "\u2028",
            "😀",
        ]
    ),
)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
trees = st.dictionaries(
    keys, st.recursive(scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(keys, t, max_size=3), max_leaves=8)
)


@settings(deadline=None)
@given(trees.filter(bool))
def test_yaml_that_is_written_is_read_back_the_same(tree: dict[str, Any]) -> None:
    node, problems = read_text(to_yaml(tree).encode(), Place("f"))
    assert problems == [] and plain(node) == tree


overrides = st.fixed_dictionaries(
    {"reranker": st.sampled_from(["TFKNRM", "crossencoder", "biencoder", "{name: TFBERTMaxP, pretrained: a/b}"])},
    optional={
        "sampler": st.sampled_from(["LCE", "triplet", "{name: LCE, nneg: 3}"]),
        "trainer.loss": st.sampled_from(["lce", "tfr:softmax_loss", "{name: pairwise_hinge, margin: 0.25}"]),
        "trainer.lr": st.floats(0, 1).map(str),
        "trainer.niters": st.integers(1, 9).map(str),
        "trainer.schedule": st.sampled_from(["null", "cosine", "{name: linear, floor: 0.1}"]),
        "data.run": st.sampled_from(["bm25", "{k1: 1.2}"]),
        "metrics.report": st.sampled_from(["[]", "[map, P_10]"]),
    },
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=overrides)
def test_a_resolved_configuration_is_a_configuration_again(said: dict[str, str], tmp_path: Path) -> None:
    config, _ = load_config([], [*BASE, *(f"{key}={value}" for key, value in said.items())])
    path = tmp_path / "resolved.yaml"
    path.write_text(to_yaml(resolved(config)))
    again, _ = load_config([path])
    assert again == config
    for registry, options in ((RERANKERS, config.reranker), (TRAINERS, config.trainer)):
        assert component_from(registry, section(registry, options)) == options


def test_every_default_is_written_out() -> None:
    config, _ = load_config([], [*BASE, "reranker=TFKNRM"])
    tree = resolved(config)
    assert tree["trainer"]["loss"] == {"name": "lce"} and tree["trainer"]["schedule"] is None
    assert tree["data"]["run"]["k1"] == 0.9 and tree["extractor"]["name"] == "embedtext"
    assert tree["metrics"] == {"optimize": "ndcg_cut_10", "report": ["map", "RR@10"]}


def test_what_is_not_the_default_is_marked_with_the_default_and_its_origin() -> None:
    config, provenance = load_config(
        [], [*BASE, "reranker=TFKNRM", "trainer.niters=3", "trainer.batch=4", "sampler=triplet"]
    )
    lines = marked(config, provenance)
    assert "*   niters: 3  # default: 2, from command line" in lines
    assert "    batch: 4  # from command line" in lines
    assert "    itersize: 160" in lines
    assert "*   name: triplet  # default: LCE" in lines
    assert "    name: TFKNRM" in lines
    assert [line for line in marked(config) if line.startswith("*")] == [
        "*   builtin: stdlib-docs  # default: null",
        "*   name: triplet  # default: LCE",
        "*   niters: 3  # default: 2",
    ]
