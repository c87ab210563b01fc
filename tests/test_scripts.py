"""The shell scripts, on checkouts with made-up Pythons: what they install, where, and what they say if they cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import pytest

import rankcli

ROOT = Path(__file__).parents[1]

# A Python of version $VERSION: makes environments unless $NOVENV is set, notes in `log` what it is to install, and
# knows which extras an environment has by a file in it.
PYTHON = """#!/bin/bash
here=$(dirname "$(dirname "$0")")
case "$*" in
    "-I scripts/_installed"*)
        [ -e "$here/has" ] && for extra in "${@:3}"; do grep -qw "$extra" "$here/has" || exit 1; done ;;
    *version_info*)
        v=${VERSION:-3.11}; echo "$v"
        for known in "${@:3}"; do [ "$known" != "$v" ] || exit 0; done; exit 1 ;;
    *ensurepip,*) [ -z "${NOVENV:-}" ] ;;
    *"-m venv"*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" && touch "${@: -1}/pyvenv.cfg"
        for name in rankcli ruff mypy lint-imports pytest; do
            printf '#!/bin/bash\\necho "$PWD: %s $*"\\n' $name >"${@: -1}/bin/$name"; chmod +x "${@: -1}/bin/$name"
        done ;;
    *"-m pip install"*) echo "pip ${@: -1}" >>"$LOG"; echo "${@: -1}" >>"$here/has" ;;
    "-m pip --version" | --version) echo "Python ${VERSION:-3.11}" ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""

# uv, which hands on to that Python.
UV = """#!/bin/bash
case "$*" in
    "python find"*) exit 1 ;;
    venv*) python3 -m venv "${@: -1}" ;;
    "pip install"*) echo "uv ${@: -1}" >>"$LOG"; echo "${@: -1}" >>"$(dirname "$(dirname "${@: -4:1}")")/has" ;;
esac
"""


class Checkout:
    """A checkout with the scripts, and a folder of programs that is the whole PATH beside the system's tools."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin, self.log, self.elsewhere = (folder / name for name in ("root", "bin", "log", "elsewhere"))
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        for name in ("setup.cfg", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, self.root)
        for made in (self.root / "rankcli", self.root / "configs", self.bin, self.elsewhere):
            made.mkdir()
        for tool in ("bash", "cat", "cp", "dirname", "env", "grep", "ls", "mkdir", "mktemp", "rm", "touch", "chmod"):
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.add("python3", PYTHON)
        self.log.touch()
        self.log.chmod(0o666)

    def add(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def __call__(
        self, script: str, *args: str, cwd: Path | None = None, user: int | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        command = [str(shutil.which("bash")), "-u", str(self.root / "scripts" / script), *args]
        known = {"PATH": str(self.bin), "LOG": str(self.log), "TMPDIR": str(self.elsewhere), **env}
        return subprocess.run(command, cwd=cwd or self.root, env=known, capture_output=True, text=True, user=user)

    @property
    def installed(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_what_is_there_is_not_installed_again_in_any_order(checkout: Checkout) -> None:
    for script in ("quickstart", "test", "quickstart", "test"):
        done = checkout(script)
        assert done.returncode == 0, done.stderr
    assert checkout.installed == ["pip .", "pip .[test]"]
    assert done.stderr == "" and done.stdout.splitlines()[-1] == f"{checkout.root}: pytest -n 2 --dist loadfile"


def test_uv_is_used_where_it_is_and_needs_no_ensurepip(checkout: Checkout) -> None:
    checkout.add("uv", UV)
    done = checkout("quickstart", NOVENV="1")
    assert done.returncode == 0 and checkout.installed == ["uv ."], done.stderr


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"NOVENV": "1", "VERSION": "3.12"}, "sudo apt install python3.12-venv"),
        ({"VERSION": "3.9"}, "No Python was found of a version that is supported: 3.10 3.11 3.12 3.13."),
        ({"PYTHON": "python3", "VERSION": "3.14"}, "PYTHON=python3 is not a Python of a version that is supported"),
        ({"PYTHON": "/nowhere/python"}, "PYTHON=/nowhere/python is not"),
    ],
)
def test_without_a_usable_python_the_message_says_what_to_install(
    env: dict[str, str], said: str, checkout: Checkout
) -> None:
    done = checkout("quickstart", **env)
    assert done.returncode == 4 and said in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not checkout.installed


def test_another_python_than_the_default_is_found(checkout: Checkout) -> None:
    checkout.add("python3", "#!/bin/bash\nexit 1\n")
    home = checkout.elsewhere / "home"
    version = home / ".pyenv" / "versions" / "3.12.1" / "bin"
    version.mkdir(parents=True)
    shutil.copy(checkout.bin / "python3", checkout.bin / "python3.12")  # as pyenv's: there, but not active
    (version / "python3").write_text(PYTHON)
    (version / "python3").chmod(0o755)
    done = checkout("quickstart", HOME=str(home), VERSION="3.12")
    assert done.returncode == 0 and checkout.installed == ["pip ."], done.stderr
    assert checkout("quickstart", RANKCLI_VENV="other").returncode == 4  # HOME is not set here


@pytest.mark.parametrize("place", ["file/venv", "full"])
def test_a_folder_that_cannot_be_used_is_named_with_the_variable(place: str, checkout: Checkout) -> None:
    (checkout.root / "file").touch()
    (checkout.root / "full").mkdir()
    (checkout.root / "full" / "thesis.tex").touch()
    done = checkout("quickstart", RANKCLI_VENV=place)
    assert done.returncode in (2, 6) and f"{checkout.root / place} " in done.stderr and "RANKCLI_VENV" in done.stderr
    assert not checkout.installed and list((checkout.root / "full").iterdir()) == [checkout.root / "full/thesis.tex"]


def test_quickstart_works_where_it_is_started(checkout: Checkout) -> None:
    done = checkout("quickstart", "trainer.niters=1", cwd=checkout.elsewhere, RANKCLI_VENV="my venv")
    config = checkout.root / "configs" / "quickstart.yaml"
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == f"{checkout.elsewhere}: rankcli train --config {config} trainer.niters=1"
    assert rest[:3] == ["", "Next:", "  source my\\ venv/bin/activate"]
    assert (checkout.elsewhere / "my venv" / "pyvenv.cfg").exists()
    again = checkout("quickstart", cwd=checkout.elsewhere)
    assert again.stdout.splitlines()[3] == f"  source {checkout.root}/.venv/bin/activate"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_checkout_that_cannot_be_written_is_installed_from_a_copy(open_folder: Path) -> None:
    checkout = Checkout(open_folder)
    checkout.elsewhere.chmod(0o777)
    checkout.root.chmod(0o555)
    user = 65534 if os.geteuid() == 0 else None
    refused = checkout("quickstart", cwd=checkout.elsewhere, user=user)
    assert refused.returncode == 6 and "name another place with RANKCLI_VENV=" in refused.stderr
    done = checkout("quickstart", cwd=checkout.elsewhere, user=user, RANKCLI_VENV="venv")
    assert done.returncode == 0, done.stderr
    (installed,) = checkout.installed
    assert installed.startswith(f"pip {checkout.elsewhere}/tmp.")
    assert [path.name for path in checkout.elsewhere.iterdir()] == ["venv"]  # the copy is gone


def test_the_tests_run_on_every_python_that_is_there(checkout: Checkout) -> None:
    for version in ("3.10", "3.12"):
        checkout.add(f"python{version}", PYTHON.replace("${VERSION:-3.11}", version))
    done = checkout("test-pythons", "-q")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "passed: 3.10 3.11 3.12; failed: none; not on this machine: 3.13"
    assert [line for line in done.stdout.splitlines() if "pytest" in line] == [f"{checkout.root}: pytest -q"] * 3
    assert {path.name for path in checkout.root.glob(".venv*")} == {f".venv-3.{n}" for n in (10, 11, 12)}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`scripts/_installed` of a checkout that needs alpha-pkg, which needs gamma; the extra `more` needs beta."""
    loader = SourceFileLoader("installed", str(ROOT / "scripts" / "_installed"))
    module = module_from_spec(ModuleSpec("installed", loader, origin=loader.path))
    module.__file__ = loader.path
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "setup.cfg").write_text(
        "[options]\ninstall_requires =\n    # a remark\n    alpha-pkg>=2\n    never; python_version < '3'\n"
        "[options.extras_require]\nmore =\n    beta\n"
    )
    (tmp_path / "constraints.txt").write_text("# tried together\ngamma==1.5\nunused==3\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    distribution(tmp_path, "alpha_pkg", "2.1", "gamma>=1", "rare; extra == 'odd'")
    distribution(tmp_path, "gamma", "1.5")
    return module


def distribution(folder: Path, name: str, version: str, *needs: str) -> None:
    for old in (folder / "site").glob(f"{name}-*"):
        shutil.rmtree(old)
    place = folder / "site" / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {n}" for n in needs)]
    (place / "METADATA").write_text("\n".join(lines) + "\n")


def test_an_environment_is_complete_with_everything_that_is_needed_or_more(
    installed: ModuleType, tmp_path: Path
) -> None:
    def complete(*extras: str) -> bool:
        answer: bool = installed.is_complete(installed.wanted(extras))
        return answer

    assert complete() and not complete("more")
    distribution(tmp_path, "beta", "1")
    assert complete() and complete("more")
    distribution(tmp_path, "gamma", "1.6")  # not the version that was tried
    assert not complete()
    shutil.rmtree(tmp_path / "site" / "gamma-1.6.dist-info")
    assert not complete()
    distribution(tmp_path, "gamma", "1.5")
    distribution(tmp_path, "alpha_pkg", "1.9", "gamma")
    assert not complete()


def test_a_package_of_another_checkout_does_not_count(
    installed: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(rankcli.__file__).parent
    shutil.copytree(package, tmp_path / "rankcli")
    assert installed.is_this_checkout()  # a copy with the same content
    monkeypatch.setattr(installed, "ROOT", package.parent)
    assert installed.is_this_checkout()
    monkeypatch.setattr(installed, "ROOT", tmp_path)
    (tmp_path / "rankcli" / "log.py").write_text("")
    assert not installed.is_this_checkout()


@pytest.mark.parametrize(
    "script", ["_python", "bench", "quickstart", "test", "test-peers", "test-pythons", "ci-train.sh"]
)
def test_the_scripts_are_valid_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n", str(ROOT / "scripts" / script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
