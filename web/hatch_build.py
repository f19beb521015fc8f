"""A wheel holds the viewer that its sources build: refused otherwise, where Node can tell."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Checks the built viewer before a wheel is made; editable installs are left alone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Run the build's own check where Node and its packages are installed."""
        web = Path(self.root) / "web"
        node = shutil.which("node")
        if version != "standard" or node is None or not (web / "node_modules").is_dir():
            return
        subprocess.run([node, "build.mjs", "--check"], cwd=web, check=True)
