"""What a service has to say to whoever looks at its standard error."""

from __future__ import annotations

import contextlib
import os


def tell(text: str) -> None:
    """Write a line to standard error, where nobody need be any more: a terminal that is gone must not end what goes on."""
    with contextlib.suppress(OSError):
        os.write(2, f"gilscope serve: {text}\n".encode(errors="backslashreplace"))
