"""Identities: canonical, equal everywhere, and blind to options that keep their default."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankcli.config.identity import canonical_json, component_identity, differences, digest, digest_of_items
from rankcli.config.registry import KINDS, Registry, component, option


def test_canonical_json_sorts_keys_and_writes_numbers_one_way() -> None:
    assert canonical_json({"b": (1, 2.0), "a": {"y": None, "x": True}}) == '{"a":{"x":true,"y":null},"b":[1,2]}'
    assert canonical_json([1e-5, 0.1, -0.0, 1e16, "é"]) == '[1e-05,0.1,0,1e+16,"\\u00e9"]'


def test_a_digest_is_the_start_of_a_sha256() -> None:
    assert digest({}) == "44136fa355b3678a"  # sha256 of "{}"
    assert digest({"a": 1, "b": 2}) == digest({"b": 2.0, "a": 1})
    assert digest({"a": 1}) != digest({"a": True})


SCORES = st.lists(st.tuples(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False)), max_size=4)


@given(st.dictionaries(st.text(max_size=5), SCORES, max_size=4))
def test_items_one_after_another_have_the_digest_of_their_mapping(mapping: dict[str, Any]) -> None:
    assert digest_of_items(sorted(mapping.items())) == digest(mapping)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_have_no_identity(value: float) -> None:
    with pytest.raises(ValueError):
        canonical_json({"x": value})


def test_what_is_no_plain_value_has_no_identity() -> None:
    with pytest.raises(TypeError):
        canonical_json({"x": {1, 2}})


SCRIPT = """
from rankcli.config.identity import component_identity, digest
from rankcli.config.registry import LOSSES, SAMPLERS, TRAINERS
loss = LOSSES.get("tfr")(key="softmax_loss", temperature=0.3)
options = TRAINERS.get("tensorflow")(niters=7, lr=3e-4, loss=loss)
print(digest([component_identity(TRAINERS, options), component_identity(SAMPLERS, SAMPLERS.get("LCE")(nneg=3))]))
"""


def test_an_identity_is_equal_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(found) == 1


@dataclass(frozen=True, kw_only=True)
class Size:
    """A plain section."""

    layers: int = option(2)
    width: int = option(64)


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A component inside another."""

    version: ClassVar[int] = 1
    margin: float = option(1.0)


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A component."""

    version: ClassVar[int] = 3
    depth: int = option(2)
    note: str = option("", identity=False)
    size: Size = option(Size())
    inner: Any = component(Registry("inners"), "plain")


@dataclass(frozen=True, kw_only=True)
class LaterOuter:
    """The same component after a release that added options."""

    version: ClassVar[int] = 3
    depth: int = option(2)
    note: str = option("", identity=False)
    size: Size = option(Size())
    inner: Any = component(Registry("inners"), "plain")
    added: int = option(5)
    second: Any = component(Registry("inners"), "plain")


@pytest.fixture
def inners(monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry("inners")
    registry.register("plain")(Inner)
    monkeypatch.setitem(KINDS, "inners", registry)
    return registry


def outers(cls: type) -> Registry:
    registry = Registry("outers")
    registry.register("outer")(cls)
    return registry


def test_only_options_that_differ_from_their_default_are_in(inners: Registry) -> None:
    identity = component_identity(outers(Outer), Outer(note="elsewhere", inner=Inner()))
    assert identity == {"name": "outer", "version": 3}
    identity = component_identity(outers(Outer), Outer(depth=4, size=Size(width=8), inner=Inner(margin=2.0)))
    assert identity == {
        "name": "outer",
        "version": 3,
        "depth": 4,
        "size": {"width": 8},
        "inner": {"name": "plain", "version": 1, "margin": 2},
    }


@dataclass(frozen=True, kw_only=True)
class Named:
    """A component with sections under names, which hold components."""

    version: ClassVar[int] = 1
    parts: dict[str, Outer] | None = option(None)


def test_sections_under_names_leave_their_defaults_out(inners: Registry) -> None:
    parts = {"a": Outer(depth=4, note="elsewhere"), "b": Outer(inner=Inner(margin=2.0))}
    assert component_identity(outers(Named), Named(parts=parts)) == {
        "name": "outer",
        "version": 1,
        "parts": {"a": {"depth": 4}, "b": {"inner": {"name": "plain", "version": 1, "margin": 2}}},
    }


def test_an_option_added_with_a_default_changes_no_id(inners: Registry) -> None:
    old = component_identity(outers(Outer), Outer(depth=4, inner=Inner()))
    new = component_identity(outers(LaterOuter), LaterOuter(depth=4, inner=Inner(), second=Inner()))
    assert old == new and digest(old) == digest(new)


def test_a_new_version_of_a_component_inside_changes_the_id(inners: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    before = component_identity(outers(Outer), Outer(inner=Inner()))
    monkeypatch.setattr(Inner, "version", 2)
    assert component_identity(outers(Outer), Outer(inner=Inner())) != before


def test_differences_name_dotted_keys_with_both_values() -> None:
    have = {"extractor": {"name": "passage", "maxseqlen": 256}, "seed": 1, "metrics": ["map"]}
    want = {"extractor": {"name": "passage", "maxseqlen": 512, "maxqlen": 16}, "seed": 1.0, "metrics": ["map", "P_5"]}
    assert [str(each) for each in differences(have, want)] == [
        "extractor.maxqlen (default, wanted 16)",
        "extractor.maxseqlen (256, wanted 512)",
        "metrics (['map'], wanted ['map', 'P_5'])",
    ]
    assert differences(have, have) == []
    assert [each.key for each in differences({"a": 1}, {"a": True})] == ["a"]
