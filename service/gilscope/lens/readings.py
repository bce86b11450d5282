"""What the lens sees of a window, in the form in which its process tells its parent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gilscope.lens.ledger import Span, add_spans
from gilscope.lens.watch import ThreadSpan
from gilscope.model import LensReading, StateSeconds, ThreadRole


@dataclass(frozen=True, slots=True)
class Window:
    """A window of ``seconds``, each role's threads summed. ``cpu_share`` is the lens's own use of a core, 0 to 1."""

    seconds: float
    looks: int
    cpu_share: float
    roles: Mapping[ThreadRole, Span]

    def reading(self) -> LensReading:
        """Return it as it is kept."""
        roles = {role: span.all for role, span in self.roles.items()}
        return LensReading(self.seconds, self.looks, roles, self.cpu_share)

    def inside(self) -> StateSeconds:
        """Return the seconds of all threads inside the measured function."""
        return add_spans(self.roles.values()).inside


def by_role(threads: Iterable[ThreadSpan]) -> dict[ThreadRole, Span]:
    """Add up threads by role; a role without a thread is not in it."""
    spans: dict[ThreadRole, list[Span]] = {}
    for thread in threads:
        spans.setdefault(thread.role, []).append(thread.span)
    return {role: add_spans(spans[role]) for role in ThreadRole if role in spans}
