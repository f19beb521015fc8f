"""How quickly the viewer draws: ``bench/viewer.json``.

A picture of 4,000 x 4,000 random levels and its baseline in headless Chromium, without a graphics
card: milliseconds per frame while window and level, place and zoom are dragged, alone and in two
linked panes, and with the difference laid over. `cpu_ms` is what the page's main thread spends per
frame; the others are what passed, and depend on the machine's load. At 60 per second a frame has
16.7 ms.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from roentmod.radiograph import Radiograph
from roentmod.store import write_json
from tests.web.serving import serving

SIDE = 4000
FRAMES = 60
# What one frame costs: the change that a drag of a pixel or two makes, and the painting of it.
MEASURE = """async ([kind, frames]) => {
  const viewers = [...document.querySelectorAll('rm-viewer')];
  const view = viewers[0].view;
  view.reset(); if (kind === 'difference') view.change({mode: 'difference'});
  view.change({scale: 0.35});
  const spent = [];
  for (let i = 0; i < frames; i++) {
    await new Promise(requestAnimationFrame);
    const start = performance.now();
    if (kind === 'window' || kind === 'difference') view.turn(0.002, 0.001);
    if (kind === 'pan') view.change({x: 0.5 + 0.001 * i, y: 0.5 - 0.001 * i});
    if (kind === 'zoom') view.change({scale: 0.35 * 1.01 ** i});
    for (const viewer of viewers) viewer.paint();
    spent.push(performance.now() - start);
  }
  view.reset();
  return spent;
}"""


def _measure(page: Page, panes: int) -> dict[str, dict[str, float]]:
    """Return median and 95th percentile, in ms, of each kind of drag."""
    figures = {}
    session = page.context.new_cdp_session(page)
    # Durations are the thread's own then, whatever else the machine does.
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent_cpu() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

    for kind in ("window", "pan", "zoom", *(["difference"] if panes == 1 else [])):
        before = spent_cpu()
        spent = np.array(page.evaluate(MEASURE, [kind, FRAMES]))
        median, high = np.quantile(spent, [0.5, 0.95])
        figures[kind] = {
            "cpu_ms": round(1000 * (spent_cpu() - before) / FRAMES, 2),
            "median_ms": round(float(median), 2),
            "p95_ms": round(float(high), 2),
        }
    return figures


def _page(panes: int) -> str:
    one = '<rm-viewer group="g" src="/pixels/{}" baseline="/pixels/before" bar="none"></rm-viewer>'
    return "".join(one.format("after" if n == 0 else "before") for n in range(panes))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench/viewer.json"))
    out = parser.parse_args().out
    draw = np.random.default_rng(0)
    shown = {
        name: Radiograph.from_array(draw.random((SIDE, SIDE), dtype=np.float32))
        for name in ("before", "after")
    }
    result: dict[str, Any] = {"side": SIDE, "frames": FRAMES, "viewport": "1280x800"}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for panes in (1, 2):
            with serving(shown, _page(panes)) as address:
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(address)
                page.wait_for_function(
                    "() => [...document.querySelectorAll('rm-viewer')].every(v => v.prior)",
                    timeout=300_000,
                )
                result[f"panes_{panes}"] = _measure(page, panes)
                page.close()
        result["chromium"] = browser.version
        browser.close()
    result["platform"] = f"{platform.machine()}, {os.cpu_count()} processors"
    result["load"] = round(os.getloadavg()[0], 1)
    write_json(out, result)
    print(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
