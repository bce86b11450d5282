"""What the fork server imports when it begins, and nobody else: it outlives signals that are meant for the service.

A terminal that hangs up, ``timeout`` and systemd send theirs to the whole process group or control group. The service drains
then, and the server ends when the service does. Whom it forks ends at such signals as usual, unless it says otherwise.
"""

from __future__ import annotations

import os
import signal

from gilscope.backends.processes import ENDING, leave_ends_to_the_service


def _end_as_usual() -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


leave_ends_to_the_service()
os.register_at_fork(after_in_child=_end_as_usual)
