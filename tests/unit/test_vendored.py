from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from gilscope import live, web

STATIC = Path(web.__file__).with_name("static")
FOLDER = STATIC / "speedscope"
LIST = (STATIC / "speedscope.sha256").read_text(encoding="utf-8").splitlines()
SUMS = {name: digest for digest, name in (line.split("  ") for line in LIST)}


def test_nothing_is_there_that_is_not_in_the_list() -> None:
    assert len(SUMS) == len(LIST)
    assert sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*")) == sorted(SUMS)


@pytest.mark.parametrize("name", SUMS)
def test_every_file_is_as_it_was_released(name: str) -> None:
    path = FOLDER / name
    assert path.is_file()
    assert not path.is_symlink()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SUMS[name]


def test_the_readme_names_version_licence_and_source() -> None:
    readme = (STATIC / "README.md").read_text(encoding="utf-8")
    (version,) = re.findall(r"^speedscope@(\S+)$", (FOLDER / "release.txt").read_text(), re.MULTILINE)
    assert f"[speedscope](https://github.com/jlfwong/speedscope) {version} (MIT" in readme
    assert f"`speedscope-{version}.tgz` (SHA-256 `" in readme
    assert re.search(r"`[0-9a-f]{64}`", readme)


def test_licences_come_along() -> None:
    readme = (STATIC / "README.md").read_text(encoding="utf-8")
    for name, words in (("LICENSE", "MIT License"), ("source-code-pro.LICENSE.md", "SIL OPEN FONT LICENSE")):
        assert f"`{name}`" in readme
        assert words in (FOLDER / name).read_text(encoding="utf-8")


def test_the_page_loads_what_is_there_and_nothing_from_elsewhere() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    loaded = re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", page)
    assert loaded
    assert set(loaded) <= SUMS.keys()


UPLOT = Path(live.__file__).with_name("static") / "uplot"
UPLOT_SUMS = {
    name: digest
    for digest, name in (
        line.split("  ") for line in UPLOT.with_suffix(".sha256").read_text(encoding="utf-8").splitlines()
    )
}


def test_the_charts_library_is_as_it_was_released() -> None:
    assert {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in UPLOT.iterdir()
    } == UPLOT_SUMS
    assert UPLOT_SUMS.keys() == {"LICENSE", "uPlot.iife.min.js", "uPlot.min.css"}
    assert "MIT License" in (UPLOT / "LICENSE").read_text(encoding="utf-8")


def test_the_charts_library_is_named_with_version_licence_and_source() -> None:
    readme = UPLOT.with_name("README.md").read_text(encoding="utf-8")
    script = (UPLOT / "uPlot.iife.min.js").read_text(encoding="utf-8")
    (version,) = re.findall(r"leeoniya/uPlot \(v([0-9.]+)\)", script)
    assert f"[uPlot](https://github.com/leeoniya/uPlot) {version} (MIT" in readme
    assert f"`uplot-{version}.tgz`" in readme
    assert re.search(r"SHA-256 `[0-9a-f]{64}`", readme)
