"""Copy Debian's Python from /usr to a directory that will be /usr/local, as if installed there."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from pathlib import Path

VERSION = "python{}.{}".format(*sys.version_info)
MULTIARCH = sysconfig.get_config_var("MULTIARCH")


def edit(path: Path, *changes: tuple[str, str]) -> None:
    """Replace patterns in a file, each of which has to be there."""
    text = path.read_text()
    for pattern, new in changes:
        text, count = re.subn(pattern, new, text)
        if not count:
            sys.exit(f"{path} has no {pattern}: Debian's Python has changed, look at relocate.py")
    path.write_text(text)


def main() -> None:
    """Copy, and take back what Debian does otherwise."""
    target = Path(sys.argv[1])
    for name in ("bin", "lib", "include"):
        (target / name).mkdir(parents=True)
    shutil.copy2(f"/usr/bin/{VERSION}", target / "bin")
    shutil.copy2(f"/usr/bin/{MULTIARCH}-{VERSION}-config", target / f"bin/{VERSION}-config")
    for name in ("python3", "python3-config"):
        (target / "bin" / name).symlink_to(name.replace("python3", VERSION))

    library = target / "lib" / VERSION
    of_debian = ("__pycache__", "sitecustomize.py", "EXTERNALLY-MANAGED", "test", "*.a")
    shutil.copytree(
        f"/usr/lib/{VERSION}", library, symlinks=True, ignore=shutil.ignore_patterns(*of_debian)
    )
    (library / "site-packages").mkdir(exist_ok=True)
    for path in Path(f"/usr/lib/{MULTIARCH}").glob(f"lib{VERSION}.so*"):
        shutil.copy2(path, target / "lib", follow_symlinks=False)
    headers = target / "include" / VERSION
    shutil.copytree(f"/usr/include/{VERSION}", headers)
    shutil.copy2(f"/usr/include/{MULTIARCH}/{VERSION}/pyconfig.h", headers)

    # What tells a compiler where everything is.
    places = (
        (f"/usr/lib/{MULTIARCH}", "/usr/local/lib"),
        (r"/usr(?=/(?:bin|include|lib)\b|['\"\s]|$)", "/usr/local"),
    )
    for path in library.glob("_sysconfigdata__*.py"):
        if not path.is_symlink():
            edit(path, *places, (r"'WHEEL_PKG_DIR': '[^']*'", "'WHEEL_PKG_DIR': None"))
    edit(next(library.glob("config-*/Makefile")), *places)
    edit(target / f"bin/{VERSION}-config", *places)
    # Where packages go.
    edit(
        library / "sysconfig/__init__.py",
        (r"'DEB_PYTHON_INSTALL_LAYOUT', 'posix_local'", "'', 'posix_prefix'"),
        (r"prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'"),
    )
    # `site` is frozen into the program: what it looks for is led to where packages are.
    (library / "dist-packages").symlink_to("site-packages")
    edit(
        library / "ensurepip/__init__.py",
        (r"(def _ensurepip_is_disabled_in_debian_for_system\(\):\n)", r"\1    return\n"),
    )
    bundled = library / "ensurepip/_bundled"
    bundled.mkdir()
    for path in Path("/usr/share/python-wheels").glob("pip-*.whl"):
        shutil.copy2(path, bundled)


if __name__ == "__main__":
    main()
