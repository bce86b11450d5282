"""What a large flame graph costs: drawing it, and opening it in Chromium.

A folded profile of 100 000 distinct stacks, 12 to 30 frames deep, is drawn as the report does it; then Chromium opens the
file and is asked for how long it was busy until the page had loaded, and how long a zoom takes. Printed are seconds.

    python benchmarks/graphs.py [--stacks 100000]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from gilscope.flame.harness import is_workload
from gilscope.flame.svg import Heading, render_svg
from gilscope.model import Stack

OPEN_S = 60.0

ASK = """<!doctype html><meta charset="utf-8"><title>?</title>
<script>const begun = performance.now();</script>{svg}
<script>{script}</script>
<script>
addEventListener("load", () => requestAnimationFrame(() => setTimeout(() => {{
  const loaded = performance.now() - begun;
  const boxes = [...document.querySelectorAll(".boxes:not([display]) > svg")];
  const before = performance.now();
  boxes[Math.floor(boxes.length / 2)].dispatchEvent(new MouseEvent("click", {{ bubbles: true }}));
  document.body.getBoundingClientRect();
  const zoomed = performance.now() - before;
  document.title = "done";
  document.body.replaceChildren(`${{boxes.length}} ${{loaded / 1e3}} ${{zoomed / 1e3}}`);
}}, 0)));
</script>
"""


def stacks(count: int, seed: int = 1) -> dict[Stack, float]:
    """Return that many distinct stacks, branching the way programs do: few callers, many leaves."""
    choose = random.Random(seed)
    made: dict[Stack, float] = {}
    while len(made) < count:
        depth = choose.randint(12, 30)
        branch, frames = 0, []
        for at in range(depth):
            branch = branch * 7 + int(choose.random() ** 2 * 7)
            frames.append(f"call_{branch % 499} (package/module_{at}.py:{branch % 499})")
        made[tuple(frames)] = choose.random() / 100
    return made


def in_chromium(svg: str) -> tuple[int, float, float]:
    """Open the graph; return how many boxes it has, and the seconds until it was there and for a zoom."""
    from gilscope.flame.svg import viewer_script  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(ASK.format(svg=svg, script=viewer_script()), encoding="utf-8")
        command = [str(shutil.which("chromium")), "--headless", "--no-sandbox", "--disable-gpu"]
        command += ["--disable-background-networking", f"--user-data-dir={folder}/profile"]
        command += ["--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=OPEN_S, check=True, env={**os.environ}
        )
    body = said.stdout.partition("<body>")[2].partition("</body>")[0].split()
    return int(body[0]), float(body[1]), float(body[2])


def main() -> None:
    """Print what drawing and opening take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=100_000)
    options = parser.parse_args()
    folded = stacks(options.stacks)
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        svg = render_svg(folded, Heading("a large graph"), own=is_workload, standalone=False)
        taken.append(time.perf_counter() - begun)
    print(f"{len(folded):,} stacks drawn in {min(taken):.2f} s (best of 3), {len(svg):,} characters")
    if shutil.which("chromium"):
        boxes, loaded_s, zoomed_s = in_chromium(svg)
        print(f"Chromium: {boxes:,} boxes shown, there after {loaded_s:.2f} s, a zoom takes {zoomed_s:.3f} s")


if __name__ == "__main__":
    main()
