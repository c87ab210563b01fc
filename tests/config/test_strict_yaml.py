"""The YAML subset: what it reads, what it refuses, and that refusing is cheap."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankcli.config.problems import Place
from rankcli.config.strict_yaml import MAX_NODES, plain, read_file, read_text
from rankcli.errors import ConfigError

START = Place("f.yaml", 1)


def value_of(text: str) -> object:
    node, problems = read_text(text.encode(), START)
    assert problems == []
    return plain(node)


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in read_text(text.encode(), START)[1]]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1e-5", 1e-5),
        ("2.0e-5", 2e-5),
        (".5", 0.5),
        ("-3", -3),
        ("+7", 7),
        ("0", 0),
        ("1.", 1.0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("9223372036854775807", 2**63 - 1),
        # what other YAML readers make numbers, booleans or dates of is text
        ("012", "012"),
        ("00.5", "00.5"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("NO", "NO"),
        ("yes", "yes"),
        ("True", "True"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("'true'", "true"),
        ('"12"', "12"),
        ("ir_datasets:beir/scifact", "ir_datasets:beir/scifact"),
        ("gs://bucket/x", "gs://bucket/x"),
    ],
)
def test_scalars_are_what_they_look_like(written: str, read: object) -> None:
    value = value_of(f"a: {written}")["a"]  # type: ignore[index]
    assert value == read and type(value) is type(read)


def test_keys_are_the_text_that_is_written() -> None:
    assert value_of("on: 1\n012: 2\ntrue: 3\n1e5: 4") == {"on": 1, "012": 2, "true": 3, "1e5": 4}


def test_every_value_knows_its_line() -> None:
    tree, _ = read_text(b"a: 1\nb:\n  c: [x,\n    y]\n", START)
    assert str(tree.value["b"].value["c"].place) == "f.yaml:3"
    assert str(tree.value["b"].value["c"].value[1].place) == "f.yaml:4"


def test_an_empty_file_is_null_and_a_byte_order_mark_is_skipped() -> None:
    assert value_of("") is None
    assert value_of("\ufeffa: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: a: said twice: here and at line 1"),
        ("x: {a: 1, a: 1}", "f.yaml:1: x.a: said twice: here and at line 1"),
        ("a: &x 1", "f.yaml:1: a: anchors and aliases"),
        ("a: !!str 1", "f.yaml:1: a: tags"),
        ("a: ! 1", "f.yaml:1: a: tags"),
        ("a:\n  <<: {b: 1}", "f.yaml:2: a: merge keys"),
        ("? [a]\n: b", "f.yaml:1: a key must be text"),
        ("~: 1\n'': 2", "f.yaml:2: a key must be text"),
        ("a: 1\n---\nb: 2", "f.yaml:2: a second document"),
        ("a: 1e999", "f.yaml:1: a: 1e999 is not a finite number"),
        ("a: -9223372036854775809", "f.yaml:1: a: -9223372036854775809... does not fit in 64 bits"),
        ("a: " + "9" * 5000, "f.yaml:1: a: 99999999999999999999... does not fit in 64 bits"),
        ('a: "\\ud800"', "f.yaml:1: a: a lone surrogate is not a character"),
    ],
)
def test_what_the_subset_leaves_out_is_a_problem_with_its_line(text: str, told: str) -> None:
    assert any(problem.startswith(told) for problem in problems_of(text)), problems_of(text)


def test_all_problems_of_a_text_are_found_together() -> None:
    assert len(problems_of("a: &x 1\nb: *x\nb: !!str 2\nc: 1e999\n<<: 3")) == 6


def merge_bomb() -> str:
    rows = ["a0: &a0 {k: 1}"]
    rows += [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 25)]
    return "\n".join(rows)


HOSTILE = {
    "depth in flow": ("[" * 5000, "more than 20 levels"),
    "depth in block": ("".join(" " * n + "a:\n" for n in range(500)), "more than 20 levels"),
    "depth of keys": ("? " * 5000, "more than 20 levels"),
    "nodes": ("a: [" + "1," * 40_000 + "]", f"more than {MAX_NODES} values"),
    "keys": ("\n".join(f"k{n}: 1" for n in range(20_000)), f"more than {MAX_NODES} values"),
    "bytes": ("a" * 10_000_000, "more than 256 KiB"),
    "escape": ('a: "\\UFFFFFFFF"', "not YAML"),
    "version": ("%YAML " + "9" * 5000 + ".1\n--- a", "not YAML"),
    "control character": ("a: \0", "not YAML"),
    "tab": ("a:\n\tb: 1", "not YAML"),
    "syntax": ("a: [1", "not YAML"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_read_on_is_refused_at_once(name: str) -> None:
    text, told = HOSTILE[name]
    with pytest.raises(ConfigError, match=told) as caught:
        read_text(text.encode(), START)
    assert str(caught.value).startswith("f.yaml")


def test_a_merge_bomb_is_refused_without_being_expanded() -> None:
    node, problems = read_text(merge_bomb().encode(), START)
    assert len(problems) >= 24
    assert set(plain(node)["a24"]) == set()


def test_text_that_is_not_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"f\.yaml:2: not UTF-8"):
        read_text(b"a: b\nb: \xe9", START)


def test_no_tag_runs_code(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    text = f"a: !!python/object/apply:os.system ['touch {canary}']\nb: !!python/name:os.system"
    assert len(problems_of(text)) == 2
    assert not canary.exists()


def test_a_file_that_is_not_there_or_a_directory_is_a_config_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(ConfigError, match="cannot be read|cannot read"):
            read_file(path, str(path))


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_but_never_crashes(text: str) -> None:
    try:
        node, _ = read_text(text.encode("utf-8", "surrogatepass"), START)
    except ConfigError as refused:
        assert refused.where and refused.what
    else:
        assert node.place.source == START.source
