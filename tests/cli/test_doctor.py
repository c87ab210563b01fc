"""`rankcli doctor`: what is missing, and that no secret is ever printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankcli import versions
from rankcli.cli import doctor, run
from rankcli.runs import directory


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_all_that_is_needed_is_here(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert found["tensorflow"]["state"] == "ok" and found["tensorflow"]["detail"][0].isdigit()
    assert str(cache) in found["cache"]["detail"] and cache.is_dir()


def test_a_missing_package_exits_4(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("click", "no-such-package-here"))
    assert run(["doctor"]) == 4
    assert "missing no-such-package-here: not installed" in capsys.readouterr().out


def test_a_missing_optional_package_is_only_noted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "OPTIONAL", {"no-such-package-here": "for nothing"})
    assert run(["doctor"]) == 0
    assert "note    no-such-package-here: not installed; for nothing" in capsys.readouterr().out


def test_minor_versions_of_keras_and_tensorflow_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"tensorflow": "2.20.0", "tf-keras": "2.19.1"}
    monkeypatch.setattr(doctor, "installed", lambda package: known.get(package, "1.0"))
    assert doctor.Finding("missing", "tf-keras", "2.19 does not fit tensorflow 2.20") in list(doctor._packages())
    known["tf-keras"] = "2.20.1"
    assert all(each.state != "missing" for each in doctor._packages())


@pytest.mark.parametrize("distribution", ["tensorflow", "tensorflow-cpu", "tensorflow-tpu"])
def test_each_distribution_of_tensorflow_is_tensorflow(distribution: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"tensorflow", "tensorflow-cpu", "tensorflow-tpu"} - {distribution}
    monkeypatch.setattr(doctor, "installed", lambda package: None if package in others else "2.20.0")
    assert doctor.Finding("ok", distribution, "2.20.0") == next(doctor._packages())
    assert all(each.state != "missing" for each in doctor._packages())
    for module in (directory, versions):
        monkeypatch.setattr(module, "installed", lambda package: None if package in others else "2.20.0")
    assert directory.result_versions()[distribution] == "2.20.0" and not others & directory.result_versions().keys()


def test_no_tensorflow_at_all_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda package: None if package.startswith("tensorflow") else "2.20.0")
    assert doctor.Finding("missing", "tensorflow", "not installed") in list(doctor._packages())
    assert doctor._devices() == []


def test_a_cache_that_cannot_be_written_exits_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "file" / "below"))
    assert run(["doctor"]) == 4
    assert "cannot be written" in capsys.readouterr().out


@pytest.mark.parametrize("args", [["doctor"], ["doctor", "--json"], ["doctor", "--debug"]])
def test_a_planted_token_is_never_printed(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "hf_PLANTEDsecretTOKEN"
    for name in (*doctor.SECRETS, *doctor.SWITCHES, "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, secret)
    run(args)
    out, err = capsys.readouterr()
    assert secret not in out + err
    assert "HF_TOKEN" in out and "set" in out


def test_offline_switches_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run(["doctor"])
    assert "HF_HUB_OFFLINE: on: nothing is downloaded" in capsys.readouterr().out
