"""Where to draw the boxes and arrows of a graph: in layers, each box below those that it depends on."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]
BOX_GAP, RANK_GAP, ROUTE_WIDTH = 24.0, 40.0, 10.0
SWEEPS = 8


class Layout:
    """The places of boxes and the routes of edges.

    Layers go from top to bottom. An edge that skips layers gets a narrow place in each of them, so that it passes
    between the boxes. Boxes of a layer are ordered by the mean place of their neighbours; then each is moved as close
    to the middle of its neighbours as its own neighbours allow (least squares, by isotonic regression).

    Args:
        sizes: width and height of each box.
        edges: pairs of boxes (from, to), without cycles.

    Attributes:
        corners: the upper left corner of each box.
        routes: for each edge, points that come in pairs: straight lines within a pair, curves between pairs.
        width: the width of all.
        height: the height of all.

    Example:
        >>> layout = Layout([(40, 20), (40, 20)], [(0, 1)])
        >>> layout.corners, layout.height
        ([(0.0, 0.0), (0.0, 60.0)], 80.0)
    """

    def __init__(self, sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]):
        self._widths = [float(w) for w, _ in sizes]
        heights = [float(h) for _, h in sizes]
        ranks = _ranks(len(sizes), edges)
        self._rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
        for box, rank in enumerate(ranks):
            self._rows[rank].append(box)
        chains = self._split_long_edges(edges, ranks)
        links = [(a, b) for chain in chains for a, b in zip(chain, chain[1:], strict=False)]
        self._above: list[list[int]] = [[] for _ in self._widths]
        self._below: list[list[int]] = [[] for _ in self._widths]
        for a, b in links:
            self._below[a].append(b)
            self._above[b].append(a)
        self._order()
        self._place()
        tall = [max((heights[b] for b in row if b < len(sizes)), default=0.0) for row in self._rows]
        tops = [sum(tall[:i]) + RANK_GAP * i for i in range(len(tall))]
        middles = [tops[r] + tall[r] / 2 for r in ranks]
        self.corners = [
            (self._centers[b] - self._widths[b] / 2, middles[b] - heights[b] / 2) for b in range(len(sizes))
        ]
        self.routes = []
        for (a, b), chain in zip(edges, chains, strict=True):
            points = [(self._centers[a], middles[a] + heights[a] / 2)]
            for offset, place in enumerate(chain[1:-1], 1):
                rank = ranks[a] + offset
                points += [(self._centers[place], tops[rank]), (self._centers[place], tops[rank] + tall[rank])]
            points.append((self._centers[b], middles[b] - heights[b] / 2))
            self.routes.append(points)
        self.width = max((c + w / 2 for c, w in zip(self._centers, self._widths, strict=True)), default=0.0)
        self.height = tops[-1] + tall[-1] if tall else 0.0

    def _split_long_edges(self, edges: Sequence[tuple[int, int]], ranks: list[int]) -> list[list[int]]:
        chains = []
        for a, b in edges:
            chain = [a]
            for rank in range(ranks[a] + 1, ranks[b]):
                self._widths.append(ROUTE_WIDTH)
                self._rows[rank].append(len(self._widths) - 1)
                chain.append(len(self._widths) - 1)
            chains.append([*chain, b])
        return chains

    def _order(self) -> None:
        place = {box: float(i) for row in self._rows for i, box in enumerate(row)}
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            for row in self._rows if down else self._rows[::-1]:
                means = {}
                for box in row:
                    near = self._above[box] if down else self._below[box]
                    means[box] = sum(place[n] for n in near) / len(near) if near else place[box]
                row.sort(key=means.__getitem__)
                place.update({box: float(i) for i, box in enumerate(row)})

    def _place(self) -> None:
        self._centers = [0.0] * len(self._widths)
        for row in self._rows:
            for box, offset in zip(row, self._offsets(row), strict=True):
                self._centers[box] = offset
        for sweep in range(2 * SWEEPS):
            for row in self._rows if sweep % 2 == 0 else self._rows[::-1]:
                wanted = []
                for box in row:
                    near = self._above[box] + self._below[box]
                    wanted.append(sum(self._centers[n] for n in near) / len(near) if near else self._centers[box])
                offsets = self._offsets(row)
                free = _increasing([w - o for w, o in zip(wanted, offsets, strict=True)])
                for box, x, offset in zip(row, free, offsets, strict=True):
                    self._centers[box] = x + offset
        left = min((c - w / 2 for c, w in zip(self._centers, self._widths, strict=True)), default=0.0)
        self._centers = [c - left for c in self._centers]

    def _offsets(self, row: list[int]) -> list[float]:
        """The centers of the boxes of a row that stand as close as they may."""
        offsets = [0.0]
        for a, b in zip(row, row[1:], strict=False):
            offsets.append(offsets[-1] + (self._widths[a] + self._widths[b]) / 2 + BOX_GAP)
        return offsets[: len(row)]


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each box: one below the lowest that it depends on; a source stands just above its first user."""
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        before[b].append(a)
        after[a].append(b)
    missing = [len(b) for b in before]
    ready = [i for i in range(count) if not missing[i]]
    ranks = [0] * count
    while ready:
        box = ready.pop()
        for other in after[box]:
            ranks[other] = max(ranks[other], ranks[box] + 1)
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    for box in range(count):
        if not before[box] and after[box]:
            ranks[box] = min(ranks[other] for other in after[box]) - 1
    return ranks


def _increasing(values: list[float]) -> list[float]:
    """The non-decreasing numbers closest to `values` in least squares (pool adjacent violators)."""
    pools: list[list[float]] = []  # [sum, count]
    for value in values:
        pools.append([value, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += count
    return [total / count for total, count in pools for _ in range(int(count))]
