"""The built viewer is what its sources give, and what it may be."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.web.serving import STATIC

WEB = Path(__file__).parents[2] / "web"
NODE = shutil.which("node")


@pytest.mark.slow
@pytest.mark.skipif(NODE is None, reason="no node: apt-get install nodejs")
@pytest.mark.skipif(not (WEB / "node_modules").is_dir(), reason="run: npm ci --prefix web")
def test_a_build_gives_the_same_bytes():
    done = subprocess.run(
        [NODE, "build.mjs", "--check"], cwd=WEB, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_nothing_is_loaded_from_elsewhere_and_the_licence_is_kept():
    files = {path.name: path.read_text() for path in STATIC.glob("*.js")}
    lit = {name for name, text in files.items() if "litElementVersions" in text}
    assert lit == {"shared.js"}
    assert "BSD-3-Clause" in files["shared.js"]
    assert "Redistributions in binary form" in files["shared.js"]
    built = "".join(files.values())
    addresses = set(re.findall(r"https?://[^\s\"'`]+", built))
    assert all("www.w3.org" in one or "lit.dev" in one for one in addresses), addresses
    assert "url(" not in (STATIC / "base.css").read_text()
    assert "@import" not in (STATIC / "base.css").read_text()


def test_versions_are_exact_and_no_registry_is_named():
    package = json.loads((WEB / "package.json").read_text())
    versions = [*package["dependencies"].values(), *package["devDependencies"].values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    assert "resolved" not in (WEB / "package-lock.json").read_text()
