from __future__ import annotations

import multiprocessing.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gilscope.scratch import PREFIX, folder, sockets

if TYPE_CHECKING:
    import pytest

KILLED = """
import multiprocessing.util, os, signal
from pathlib import Path
from gilscope.scratch import sockets
with sockets():
    Path(multiprocessing.util.get_temp_dir(), "socket").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_sockets_are_kept_there_for_the_block_alone() -> None:
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    before = config.get("tempdir")
    with sockets():
        place = Path(multiprocessing.util.get_temp_dir())
        assert place.name.startswith(PREFIX)
    assert config.get("tempdir") == before
    assert not place.exists()


def test_what_a_killed_process_left_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(PREFIX)
    assert [path.name for path in left.iterdir()] == ["socket"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with folder() as path:
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []
