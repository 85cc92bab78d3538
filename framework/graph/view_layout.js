"use strict";

const BOX_GAP = 26, RANK_GAP = 48, ROUTE_WIDTH = 12, SWEEPS = 8, LONGEST_ROUTE = 40;

/* Places of boxes in layers, each below those that it depends on, as in layout.py. Boxes come in the order of the
   program; an edge against it takes no part. An edge over more than LONGEST_ROUTE layers goes straight. */
function layered(sizes, edges) {
  const count = sizes.length;
  const ahead = edges.filter(([a, b]) => a < b);
  const ranks = new Array(count).fill(0), lowest = new Array(count).fill(Infinity);
  const after = Array.from({length: count}, () => []);
  const sources = new Array(count).fill(true);
  for (const [a, b] of ahead) { after[a].push(b); sources[b] = false; }
  for (let a = 0; a < count; a++) for (const b of after[a]) ranks[b] = Math.max(ranks[b], ranks[a] + 1);
  for (const [a, b] of ahead) lowest[a] = Math.min(lowest[a], ranks[b]);
  for (let a = 0; a < count; a++) if (sources[a] && lowest[a] < Infinity) ranks[a] = lowest[a] - 1;
  const widths = sizes.map(size => size[0]), rows = [], rankOf = ranks.slice();
  const row = rank => { while (rows.length <= rank) rows.push([]); return rows[rank]; };
  for (let box = 0; box < count; box++) row(ranks[box]).push(box);
  const above = widths.map(() => []), below = widths.map(() => []);
  const chains = edges.map(([a, b]) => {
    const chain = [a];
    if (a < b && ranks[b] - ranks[a] <= LONGEST_ROUTE) {
      for (let rank = ranks[a] + 1; rank < ranks[b]; rank++) {
        chain.push(widths.length);
        row(rank).push(widths.length);
        widths.push(ROUTE_WIDTH);
        rankOf.push(rank);
        above.push([]);
        below.push([]);
      }
      chain.push(b);
      for (let i = 1; i < chain.length; i++) { below[chain[i - 1]].push(chain[i]); above[chain[i]].push(chain[i - 1]); }
    } else chain.push(b);
    return chain;
  });
  const mean = (boxes, place, own) => boxes.length ? boxes.reduce((s, b) => s + place[b], 0) / boxes.length : own;

  const place = new Array(widths.length);
  rows.forEach(boxes => boxes.forEach((box, i) => { place[box] = i; }));
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const down = sweep % 2 === 0;
    for (const boxes of down ? rows : rows.slice().reverse()) {
      const means = new Map(boxes.map(b => [b, mean(down ? above[b] : below[b], place, place[b])]));
      boxes.sort((a, b) => means.get(a) - means.get(b));
      boxes.forEach((box, i) => { place[box] = i; });
    }
  }

  const centers = new Array(widths.length).fill(0);
  const offsets = boxes => {
    const found = [0];
    for (let i = 1; i < boxes.length; i++)
      found.push(found[i - 1] + (widths[boxes[i - 1]] + widths[boxes[i]]) / 2 + BOX_GAP);
    return found;
  };
  for (const boxes of rows) { const o = offsets(boxes); boxes.forEach((box, i) => { centers[box] = o[i]; }); }
  for (let sweep = 0; sweep < 2 * SWEEPS; sweep++) {
    for (const boxes of sweep % 2 === 0 ? rows : rows.slice().reverse()) {
      const o = offsets(boxes);
      const wanted = boxes.map((b, i) => mean(above[b].concat(below[b]), centers, centers[b]) - o[i]);
      increasing(wanted).forEach((x, i) => { centers[boxes[i]] = x + o[i]; });
    }
  }
  let left = Infinity, right = 0;
  centers.forEach((c, i) => { left = Math.min(left, c - widths[i] / 2); });
  centers.forEach((c, i) => { centers[i] = c - left; right = Math.max(right, c - left + widths[i] / 2); });

  const tall = rows.map(boxes => boxes.reduce((h, b) => Math.max(h, b < count ? sizes[b][1] : 0), 0));
  const tops = [];
  tall.reduce((top, h, i) => { tops[i] = top; return top + h + RANK_GAP; }, 0);
  const corners = sizes.map(([w, h], i) => [centers[i] - w / 2, tops[ranks[i]] + (tall[ranks[i]] - h) / 2]);
  const routes = chains.map(chain => {
    const points = [];
    for (const box of chain.slice(1, -1)) {
      points.push([centers[box], tops[rankOf[box]]], [centers[box], tops[rankOf[box]] + tall[rankOf[box]]]);
    }
    return points;
  });
  const last = tops.length - 1;
  return {corners, routes, width: right, height: last < 0 ? 0 : tops[last] + tall[last]};
}

/* The non-decreasing numbers closest to the given ones (pool adjacent violators). */
function increasing(values) {
  const pools = [];
  for (const value of values) {
    pools.push([value, 1]);
    while (pools.length > 1) {
      const [a, b] = [pools[pools.length - 2], pools[pools.length - 1]];
      if (a[0] / a[1] <= b[0] / b[1]) break;
      pools.pop();
      a[0] += b[0];
      a[1] += b[1];
    }
  }
  return pools.flatMap(([total, n]) => new Array(n).fill(total / n));
}
