"""Stacked bars: the stages of the mean request, and where the threads' time went."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gilscope.model import Anatomy, BackendName, LensReading, StateSeconds, ThreadRole
from gilscope.palette import STAGES, STATES
from gilscope.report import formats
from gilscope.report.anatomy import UNEXPLAINED, drawn, measured, overlap
from gilscope.report.charts import LATENCIES, NAMES, Words, coloured, draw_axis, tell
from gilscope.report.scales import Scale, from_zero
from gilscope.report.svg import element, hatch, picture, title, words

SEEN = 0.005
"""Share of a bar from which a part of it can be seen."""

TOLD = 0.01
"""Share of a mean request from which an overlap is worth words: samples scatter."""

MATERIAL = 0.1
"""Share of its time from which a thread's wait for the GIL is written in bold."""

ROOMY = 500
"""Width from which there is room for whole sentences above a bar."""

SHARES = Words(formats.percent, formats.percent)

_AXIS = 26


Link = Callable[[BackendName, str], str | None]
"""Where a click on a part of a backend's bar leads, if anywhere."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar: how long it is drawn, what is written on it and said on hover, and where a click leads."""

    name: str
    length: float
    label: str
    hover: str
    link: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bar lies: its scale, its upper edge and its height."""

    scale: Scale
    top: float
    height: float


def anatomy(rows: Mapping[BackendName, Anatomy], width: int, link: Link) -> str:
    """Draw the mean request of each backend as a bar of its stages, in milliseconds."""
    scale = from_zero([sum(drawn(found).values()) for found in rows.values()], 1, width - 1)
    pitch = 62
    bottom = len(rows) * pitch
    marks = [
        _request(backend, found, link, Place(scale, at * pitch, 26))
        for at, (backend, found) in enumerate(rows.items())
    ]
    told = {backend: _mean_told(found) for backend, found in rows.items()}
    about = tell("Anatomy of the mean request", told)
    return picture(width, bottom + _AXIS, about, draw_axis(scale, bottom, LATENCIES), *marks)


def _request(backend: BackendName, found: Anatomy, link: Link, place: Place) -> str:
    top, bar = place.top, replace(place, top=place.top + 24)
    heading = coloured(
        backend,
        words(0, top + 16, backend, class_="name"),
        words(NAMES, top + 16, formats.milliseconds(found.mean), class_="value"),
    )
    excess = words(NAMES + 66, top + 16, excess_told(found), class_="tick") if excess_told(found) else ""
    return element("g", heading, excess, *_bar(_stages(backend, found, link), bar))


def excess_told(found: Anatomy) -> str:
    """Say by how much the parts of the run exceed it, where that could be seen."""
    excess = overlap(found)
    return (
        f"split exceeds the run by {formats.milliseconds(excess)}" if excess >= TOLD * found.mean > 0 else ""
    )


def _mean_told(found: Anatomy) -> str:
    waited = f", {formats.milliseconds(found.gil_wait)} of it waiting for the GIL" if found.gil_wait else ""
    return f"{formats.milliseconds(found.mean)} on average{waited}"


def _stages(backend: BackendName, found: Anatomy, link: Link) -> Iterator[Part]:
    """Yield the stages as long as they are drawn, with the figures as they were measured."""
    values = measured(found)
    for stage, length in drawn(found).items():
        share = formats.percent(values[stage] / found.mean) if found.mean else formats.ABSENT
        hover = f"{backend}, {STAGES[stage].label}: {formats.milliseconds(values[stage])} ({share})"
        yield Part(stage, length, formats.significant(values[stage]), hover, link(backend, stage))


def threads(rows: Mapping[BackendName, LensReading], width: int, link: Link, *, gil: bool = True) -> str:
    """Draw where the time of each backend's threads went, as shares: its event loop, and its workers.

    Without a ``gil`` it is told for how much of their time they were off the CPU.
    """
    scale = Scale(0.0, 1.0, 1, width - 1)
    marks, bottom = [], 0.0
    found = {backend: crews(reading, gil=gil) for backend, reading in rows.items()}
    for backend, own in found.items():
        marks.append(_crews(backend, own, link, Place(scale, bottom, 20)))
        bottom += _HEADING + _PITCH * len(own)
    told = {backend: "; ".join(_crew_told(crew) for crew in own) for backend, own in found.items()}
    about = tell("Where the threads' time went", told)
    return picture(width, bottom + _AXIS, about, draw_axis(scale, bottom, SHARES), *marks)


_HEADING, _PITCH = 28, 47


@dataclass(frozen=True, slots=True)
class Crew:
    """The threads of one role: what they are called, how many they are, their seconds in each state, if there is a GIL."""

    name: str
    threads: int
    spent: StateSeconds
    gil: bool = True


def crews(reading: LensReading, *, gil: bool = True) -> tuple[Crew, ...]:
    """Return the event loop and the workers, those that there were."""
    found = [
        (role, reading.roles[role])
        for role in (ThreadRole.LOOP, ThreadRole.WORKER)
        if role in reading.roles and reading.roles[role].wall_s
    ]
    return tuple(replace(_crew(role, spent, reading.seconds), gil=gil) for role, spent in found)


def _crew(role: ThreadRole, spent: StateSeconds, seconds: float) -> Crew:
    number = max(1, round(spent.wall_s / seconds)) if seconds else 1
    return Crew("event loop" if role is ThreadRole.LOOP else formats.many(number, "worker"), number, spent)


def shares(spent: StateSeconds) -> dict[str, float]:
    """Return the share of the threads' time in each state, keyed as in :data:`palette.STATES`."""
    wall_s = spent.wall_s or 1.0
    seconds = {
        "cpu": spent.on_cpu_s,
        "gil_wait": spent.gil_wait_s,
        "runqueue": spent.runqueue_s,
        "blocked": spent.blocked_s,
    }
    return {state: value / wall_s for state, value in seconds.items()}


def held_share(spent: StateSeconds) -> float | None:
    """Return the share of their time in which threads held the GIL; None where that is not known."""
    return spent.gil_held_s / spent.wall_s if spent.gil_held_s is not None and spent.wall_s else None


def _crew_told(crew: Crew) -> str:
    return f"{crew.name} {_waiting_told(crew)}"


def _waiting_told(crew: Crew) -> str:
    """Say the essence: ``waits for the GIL 62 % of its time, holds it 4.0 %``, or ``is off the CPU 38 % of its time``."""
    many, wait = crew.threads > 1, formats.percent(crew.spent.gil_wait_share)
    if not crew.gil:
        off = formats.percent(crew.spent.off_cpu_share)
        return f"are off the CPU {off} of their time" if many else f"is off the CPU {off} of its time"
    told = f"wait for the GIL {wait} of their time" if many else f"waits for the GIL {wait} of its time"
    held = held_share(crew.spent)
    if held is None:
        return told
    return f"{told}, {'hold' if many else 'holds'} it {formats.percent(held)}"


def _waiting_in_short(crew: Crew) -> str:
    """Say the same where there is little room: ``GIL wait 62 %, held 4.0 %``, or ``off CPU 38 %``."""
    if not crew.gil:
        return f"off CPU {formats.percent(crew.spent.off_cpu_share)}"
    held = held_share(crew.spent)
    wait = f"GIL wait {formats.percent(crew.spent.gil_wait_share)}"
    return wait if held is None else f"{wait}, held {formats.percent(held)}"


def _crews(backend: BackendName, own: Sequence[Crew], link: Link, place: Place) -> str:
    heading = coloured(backend, words(0, place.top + 20, backend, class_="name"))
    bars = [
        _crew_row(backend, crew, link, replace(place, top=place.top + _HEADING + at * _PITCH))
        for at, crew in enumerate(own)
    ]
    return element("g", heading, *bars)


def _crew_row(backend: BackendName, crew: Crew, link: Link, place: Place) -> str:
    scale, top = place.scale, place.top
    class_ = "value" if crew.spent.gil_wait_share >= MATERIAL else "told"
    told = _waiting_told(crew) if scale.end > ROOMY else _waiting_in_short(crew)
    return element(
        "g",
        words(0, top + 11, crew.name, class_="told"),
        words(scale.end, top + 11, told, class_=class_, text_anchor="end"),
        *_bar(_states(backend, crew, link), replace(place, top=top + 17)),
        _held(backend, crew, scale, top + 38),
    )


def _states(backend: BackendName, crew: Crew, link: Link) -> Iterator[Part]:
    for state, share in shares(crew.spent).items():
        hover = f"{backend}, {crew.name}, {STATES[state].label}: {formats.percent(share)}"
        yield Part(state, share, formats.percent(share), hover, link(backend, state))


def _held(backend: BackendName, crew: Crew, scale: Scale, top: float) -> str:
    """Draw for how much of their time the threads held the GIL: a line under their bar."""
    held = held_share(crew.spent)
    if not held:
        return ""
    hover = f"{backend}, {crew.name}, held the GIL: {formats.percent(held)}"
    width = scale(held) - scale(0)
    return element("rect", title(hover), x=scale(0), y=top, width=width, height=3, class_="held")


def _bar(parts: Iterator[Part], place: Place) -> Iterator[str]:
    reached = 0.0
    for part in parts:
        begin, end = place.scale(reached), place.scale(reached + part.length)
        reached += part.length
        if end - begin >= 0.3:
            yield _segment(part, begin, end - begin, place)


def _segment(part: Part, start: float, width: float, place: Place) -> str:
    box = element(
        "rect",
        title(part.hover),
        x=start,
        y=place.top,
        width=width,
        height=place.height,
        class_="segment",
    )
    stripes = hatch(start, place.top, width, place.height) if part.name == UNEXPLAINED else ""
    label = _segment_label(part.label, start, width, place)
    segment = element("g", box, stripes, label, class_=f"s-{part.name}")
    return segment if part.link is None else element("a", segment, href=part.link)


def _segment_label(label: str, start: float, width: float, place: Place) -> str:
    """Write the figure into a segment that has room for it."""
    if width < 7 * len(label) + 8:
        return ""
    return words(
        start + width / 2, place.top + place.height / 2 + 4, label, class_="inside", text_anchor="middle"
    )
