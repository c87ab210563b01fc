"""`rankcli doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import click

from rankcli import __version__
from rankcli.chips.compile import check_compiler, tried
from rankcli.chips.figures import GIB, Slice
from rankcli.cli._command import Command
from rankcli.cli._options import common_options, json_option, to_json
from rankcli.errors import MissingError
from rankcli.runs.directory import TENSORFLOW
from rankcli.storage.places import local_root
from rankcli.versions import installed

NEEDED = (
    "tf-keras",
    "tensorflow-ranking",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "bm25s",
    "PyStemmer",
    "pytrec-eval-terrier",
    "pydantic",
    "PyYAML",
    "click",
    "google-crc32c",
)
OPTIONAL = {"google-cloud-storage": "for gs:// caches", "ir_datasets": "for ir_datasets:ID collections"}
SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
SECRETS = ("HF_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS")  # the report only tells if they are set, never their values


class Finding(NamedTuple):
    """One line of the report; `state` is ok, note or missing."""

    state: str
    name: str
    detail: str


@click.command(cls=Command)
@click.option("--devices", is_flag=True, help="Import TensorFlow and list its devices.")
@click.option("--for", "chip", metavar="TPU", help="Try the compiler of a TPU such as v5e-8.")
@json_option
@common_options
def command(devices: bool, chip: str | None, as_json: bool) -> int:
    """Check what rankcli needs; exit 4 if something is missing.

    \b
    Example:
      rankcli doctor --devices
    """
    found = [_python(), *_packages(), _cache(), *_hub(), *(_devices() if devices else ())]
    found += [_compiler(Slice.of(chip))] if chip else []
    if as_json:
        findings = [each._asdict() for each in found]
        click.echo(to_json({"schema_version": 1, "rankcli": __version__, "findings": findings}))
    else:
        lines = [f"{state:8}{name}: {detail}" for state, name, detail in found]
        click.echo("\n".join([f"rankcli {__version__}", *lines]))
    return 4 if any(each.state == "missing" for each in found) else 0


def _python() -> Finding:
    fits = (3, 10) <= sys.version_info[:2] < (3, 14)
    detail = f"{platform.python_version()}, {platform.machine()} {platform.system()}, {os.cpu_count()} CPUs"
    return Finding("ok" if fits else "missing", "python", detail if fits else f"{detail}; 3.10 to 3.13 is needed")


def _packages() -> Iterator[Finding]:
    tensorflow = next((package for package in TENSORFLOW if installed(package)), TENSORFLOW[0])
    for package in (tensorflow, *NEEDED):
        known = installed(package)
        yield Finding("ok" if known else "missing", package, known or "not installed")
    for package, purpose in OPTIONAL.items():
        known = installed(package)
        yield Finding("ok" if known else "note", package, known or f"not installed; {purpose}")
    minors = {package: ".".join((installed(package) or "").split(".")[:2]) for package in (tensorflow, "tf-keras")}
    if all(minors.values()) and len(set(minors.values())) > 1:
        yield Finding("missing", "tf-keras", f"{minors['tf-keras']} does not fit {tensorflow} {minors[tensorflow]}")


def _cache() -> Finding:
    root = local_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            free = shutil.disk_usage(root).free
    except OSError as error:
        return Finding("missing", "cache", f"{root} cannot be written: {error.strerror}; set RANKCLI_CACHE to another")
    return Finding("ok", "cache", f"{root}, {free / 1e9:.1f} GB free")


def _hub() -> Iterator[Finding]:
    for name in SWITCHES:
        on = os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}
        yield Finding("note", name, "on: nothing is downloaded" if on else "off")
    for name in SECRETS:
        yield Finding("note", name, "set" if os.environ.get(name) else "not set")


def _compiler(wanted: Slice) -> Finding:
    try:
        check_compiler()
    except MissingError as error:
        return Finding("missing", wanted.name, f"{error.what}: {error.fix}")
    done, memory = tried(wanted.chip), wanted.chip.memory / GIB
    about = f"{wanted.replicas} replicas with {memory:.2f} GiB each"
    return Finding("missing" if done.error else "ok", wanted.name, f"{about}; {done.error or 'its compiler works'}")


def _devices() -> list[Finding]:
    if not any(installed(package) for package in TENSORFLOW):
        return []
    from rankcli.backend import tf
    from rankcli.training.strategy import lacks_bfloat16

    without = [gpu.name for gpu in tf.config.list_physical_devices("GPU") if lacks_bfloat16(gpu)]
    return [
        Finding(
            "ok", "device", f"{found.name} ({found.device_type})" + ("; no hardware for bf16" * (found.name in without))
        )
        for found in tf.config.list_physical_devices()
    ]
