"""Versions of the packages that results depend on, for people to read in manifests and run directories."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from rankcli import __version__


def versions(*packages: str) -> dict[str, str]:
    """The versions of rankcli, of Python and of the named packages."""
    own = {"rankcli": __version__, "python": platform.python_version()}
    return own | {package: installed(package) or "not installed" for package in packages}


def installed(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
