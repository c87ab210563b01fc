"""Charts as SVG: a curve over iterations, sorted gains and losses, bars of shares. The page defines the colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from rankcli.report.html import Html, element, joined
from rankcli.report.numbers import finite, plain
from rankcli.report.scale import Scale, fitted

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 352, 10, 172  # the edges of the plot; labels are left of it and below it
MARKED = 40  # up to this number of points, each has a dot
COLUMNS = 900  # narrower columns, below a third of a unit, would not be visible

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """Values by iteration. The value of iteration `best` is marked; `baseline` is drawn as a dashed line."""

    label: str
    points: Sequence[tuple[object, object]]
    best: object = None
    baseline: object = None
    from_zero: bool = False

    @property
    def finite(self) -> list[Point]:
        """The points with finite coordinates."""
        found = ((finite(x), finite(y)) for x, y in self.points)
        return [(x, y) for x, y in found if x is not None and y is not None]


def curve(drawn: Curve) -> Html | None:
    """Draw the curve with its axes. It is interrupted where a value is not finite; None without any finite value."""
    points = drawn.finite
    if not points:
        return None
    x, y = _axes(drawn, points)
    parts = [*_lines(y), *_iterations(x), *_baseline(drawn, y)]
    parts += [element("polyline", points=_places(run, x, y), class_="curve") for run in _runs(drawn) if len(run) > 1]
    parts += [_dot(point, x, y, "best" if point[0] == finite(drawn.best) else "dot") for point in _dotted(drawn)]
    return _svg(f"{drawn.label} by iteration", parts)


def _axes(drawn: Curve, points: Sequence[Point]) -> tuple[Scale, Scale]:
    values = [value for _, value in points]
    values += [value for value in (finite(drawn.baseline), 0.0 if drawn.from_zero else None) if value is not None]
    iterations = [iteration for iteration, _ in points]
    across = fitted(min(iterations), max(iterations), LEFT, RIGHT, 6, whole=True)
    if len(set(iterations)) > 1:  # no empty space at the sides
        across = Scale(min(iterations), max(iterations), LEFT + 6, RIGHT - 6, across.step)
    return across, fitted(min(values), max(values), BOTTOM, TOP)


def _runs(drawn: Curve) -> Iterator[list[Point]]:
    """Yield the stretches of consecutive finite points."""
    pairs = [(finite(x), finite(y)) for x, y in drawn.points]
    for whole, run in groupby(pairs, lambda pair: None not in pair):
        if whole:
            yield [(x, y) for x, y in run if x is not None and y is not None]


def _dotted(drawn: Curve) -> list[Point]:
    """Return the points to mark with a dot: all if they are few, else isolated points and the best one."""
    points = drawn.finite
    if len(points) <= MARKED:
        return points
    alone = [run[0] for run in _runs(drawn) if len(run) == 1]
    return alone + [point for point in points if point[0] == finite(drawn.best)]


def _dot(point: Point, x: Scale, y: Scale, kind: str) -> Html:
    said = element("title", f"iteration {plain(point[0])}: {plain(point[1])}")
    return element("circle", said, cx=_n(x(point[0])), cy=_n(y(point[1])), r=5 if kind == "best" else 2.5, class_=kind)


def _baseline(drawn: Curve, y: Scale) -> list[Html]:
    value = finite(drawn.baseline)
    if value is None:
        return []
    return [element("line", x1=LEFT, x2=RIGHT, y1=_n(y(value)), y2=_n(y(value)), class_="first")]


def _lines(y: Scale) -> list[Html]:
    """Return horizontal lines with their labels."""
    parts = []
    for tick in y.ticks:
        parts.append(element("line", x1=LEFT, x2=RIGHT, y1=_n(y(tick)), y2=_n(y(tick)), class_="grid"))
        parts.append(element("text", y.label(tick), x=LEFT - 8, y=_n(y(tick) + 4), class_="left"))
    return parts


def _iterations(x: Scale) -> list[Html]:
    """Return the labels below the plot."""
    ticks = [element("text", x.label(tick), x=_n(x(tick)), y=BOTTOM + 20, class_="below") for tick in x.ticks]
    return [*ticks, element("text", "iter.", x=LEFT - 8, y=BOTTOM + 20, class_="left")]


def gains(label: str, changes: Sequence[float]) -> Html | None:
    """Draw one column per query, from the largest gain to the largest loss; None if no query changed."""
    columns = binned(changes, COLUMNS)
    if not any(columns):
        return None
    x = Scale(0, len(columns), LEFT, RIGHT, 1)
    y = fitted(min(*columns, 0.0), max(*columns, 0.0), BOTTOM, TOP)
    zero = element("line", x1=LEFT, x2=RIGHT, y1=_n(y(0)), y2=_n(y(0)), class_="zero")
    won, lost = ([column if sign * column > 0 else 0.0 for column in columns] for sign in (1, -1))
    return _svg(label, [*_lines(y), _area(won, x, y, "gain"), _area(lost, x, y, "loss"), zero], BOTTOM + 8)


def binned(values: Sequence[float], most: int) -> list[float]:
    """Return the values or, if they are more than `most`, the means of that many equal stretches."""
    if len(values) <= most:
        return list(values)
    edges = [number * len(values) // most for number in range(most + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]


def _area(columns: Sequence[float], x: Scale, y: Scale, kind: str) -> Html:
    """Draw columns as one outline. Neighbours of the same height are merged."""
    path, place = [f"M{_n(x(0))},{_n(y(0))}"], 0
    for value, run in groupby(columns):
        place += len(list(run))
        path.append(f"V{_n(y(value))}H{_n(x(place))}")
    return element("path", d="".join([*path, f"V{_n(y(0))}Z"]), class_=kind)


def shares(label: str, parts: Sequence[tuple[str, float]]) -> Html:
    """Draw one bar of full width, divided by `parts`: pairs of a class and a share of 1."""
    drawn, start = [], 0.0
    for kind, part in parts:
        drawn.append(element("rect", x=_n(start * 100), y=0, width=_n(part * 100), height=10, class_=kind))
        start += part
    return element(
        "svg", *drawn, viewBox="0 0 100 10", preserveAspectRatio="none", role="img", aria_label=label, class_="shares"
    )


def _svg(label: str, parts: Sequence[Html], height: int = HEIGHT) -> Html:
    return element("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label, class_="chart")


def _places(points: Sequence[Point], x: Scale, y: Scale) -> Html:
    return joined([" ".join(f"{_n(x(px))},{_n(y(py))}" for px, py in points)])


def _n(place: float) -> str:
    """Format a coordinate to a tenth, without `.0`."""
    return f"{round(place, 1) + 0.0:.1f}".removesuffix(".0")
