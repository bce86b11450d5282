// The charts of the live page: uPlot with the palette's colours, one time axis and one cursor for all of them.
const liveCharts = (() => {
  "use strict";
  const GAP_S = 3; // points further apart are not connected
  const HELD_S = 10; // so long the last known figure stays, in grey
  const isComparison = document.body.dataset.watches === "comparison";
  const TRIALS_HELD_S = isComparison ? 300 : HELD_S; // backends take turns there
  const SPANS_S = [60, 120, 300]; // the time axis grows in steps: one that grows all the time cannot be read
  const STEPS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];
  const LOG_STEPS = [1, 2, 5];
  const STATES = ["on_cpu", "gil_wait", "runqueue", "blocked"]; // from below
  const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  const VALUES_PX = 54; // the same for all charts: moments stand below each other
  const EDGE_PX = 18; // right of the newest moment
  const NOTHING = "\u2013";

  const twoDigits = new Intl.NumberFormat("en", { minimumSignificantDigits: 2, maximumSignificantDigits: 2 });
  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
  const toMinute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
  const toSecond = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

  // How figures are written. Latencies are known within 12 %: more than two digits would be made up.
  const orNothing = (write) => (value) => (Number.isFinite(value) ? write(value) : NOTHING);
  const milliseconds = orNothing((value) => twoDigits.format(value));
  const rate = orNothing((value) => (value > 0 && value < 10 ? tenths : whole).format(value));
  const count = orNothing((value) => whole.format(value));
  const share = orNothing((value) => `${whole.format(100 * value)} %`);

  // Readers take a point and a key; what is not known is undefined or null.
  const ofBackend = (figure) => (point, name) => point.backends?.[name]?.[figure];
  const ofRole = (role) => (point, state) => point.states?.[role]?.[state];
  const [p50, p99, rps, queued, active, ping] = ["p50_ms", "p99_ms", "rps", "queued", "active", "ping_p99_ms"].map(ofBackend);
  const inside = (point, name) => queued(point, name) + active(point, name);

  // What each chart draws for each key (a reader and a width per line), and what its legend says of a key.
  const states = (role) => ({ keys: STATES, isStacked: true, lines: [[ofRole(role), 0]], tell: share });
  const SHOWN = {
    latency: {
      isLog: true,
      held_s: TRIALS_HELD_S,
      lines: [[p50, 1.1], [p99, 2.4]],
      tell: (median, slow) => `p99 ${milliseconds(slow)} \u00b7 p50 ${milliseconds(median)}`,
    },
    rate: { held_s: TRIALS_HELD_S, lines: [[rps, 2]], tell: rate },
    ping: { isLog: true, held_s: TRIALS_HELD_S, lines: [[ping, 2]], tell: milliseconds },
    queue: { lines: [[inside, 2]], tell: count },
    lag: { keys: ["lag"], isLog: true, lines: [[(point) => point.lag_p99_ms, 2]], tell: (lag) => `${milliseconds(lag)} ms` },
    loop: states("loop"),
    worker: states("worker"),
  };

  // The latest known value up to a row; `isOld` where that row itself has none.
  function recent(rows, read, at = rows.length - 1, held_s = HELD_S) {
    for (let index = at; index >= 0 && rows[at].t - rows[index].t <= held_s; index -= 1) {
      if (rows[index].isGap && held_s === HELD_S) break;
      const value = read(rows[index]);
      if (Number.isFinite(value)) return { value, isOld: index < at };
    }
    return { value: null, isOld: false };
  }

  // A row per point, and an empty one wherever none came for too long: lines end there.
  function rowsOf(points) {
    const rows = [];
    for (const point of points) {
      const last = rows.at(-1);
      if (last && point.t - last.t > GAP_S) rows.push({ t: (last.t + point.t) / 2, isGap: true });
      rows.push(point);
    }
    return rows;
  }

  // To uPlot null is a gap, and undefined is nothing to stop at: a few seconds without a request are no gap.
  function column(rows, read, isLog) {
    const values = rows.map(read).map((value) => (Number.isFinite(value) && (value > 0 || !isLog) ? value : null));
    let seen = -1;
    values.forEach((value, at) => {
      if (value === null) return;
      if (seen >= 0 && rows[at].t - rows[seen].t <= GAP_S) values.fill(undefined, seen + 1, at);
      seen = at;
    });
    return values;
  }

  // Shares one above the other: what is drawn of each is its upper edge.
  function stacked(rows, columns) {
    const edge = rows.map(() => 0);
    return columns.map((values) => values.map((value, at) => (value == null ? value : (edge[at] += value))));
  }

  // Canvas does not know CSS variables. Keys that are not the palette's are drawn in ink.
  function colourOf(key) {
    const style = getComputedStyle(document.documentElement);
    const name = key === "on_cpu" ? "s-cpu" : STATES.includes(key) ? `s-${key}` : key;
    return (/^[a-z_-]+$/.test(name) && style.getPropertyValue(`--${name}`).trim()) || style.getPropertyValue("--ink").trim();
  }

  const classOf = (key) => (/^[a-z_-]+$/.test(key) ? `b-${key}` : "");

  function roundUp(high) {
    const unit = 10 ** Math.floor(Math.log10(high));
    return unit * STEPS.find((step) => step * unit >= high * 0.999);
  }

  // Axes end on round figures: they stay where they are while values move.
  const linear = (u, low, high) => [0, roundUp(1.05 * Math.max(high ?? 0, 4))];
  function logarithmic(u, low, high) {
    if (low == null) return [1, 1000];
    const first = 10 ** Math.floor(Math.log10(low));
    const bottom = first * LOG_STEPS.findLast((step) => first * step <= low * 1.001);
    const last = 10 ** Math.floor(Math.log10(high));
    const top = last * [...LOG_STEPS, 10].find((step) => last * step >= high * 0.999);
    return [bottom, Math.max(top, 10 * bottom)];
  }

  function logSplits(u, axis, low, high) {
    const decades = Math.log10(high / low);
    const steps = decades * 90 > u.bbox.height / uPlot.pxRatio ? [1] : LOG_STEPS;
    const splits = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high * 1.001; power += 1) {
      splits.push(...steps.map((step) => step * 10 ** power));
    }
    return splits.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  }

  class Chart {
    constructor(figure, backends) {
      this.shown = SHOWN[figure.dataset.chart];
      this.keys = this.shown.keys ?? backends;
      this.figure = figure;
      this.place = figure.querySelector(".plot");
      this.rows = [];
      this.span = [0, 1];
      this.says = this.legend();
      this.plot = new uPlot(this.options(), this.table(), this.place);
      this.resizing = new ResizeObserver(() => this.fit());
      this.resizing.observe(this.place);
      this.recolour();
    }

    // Keys of states stand in the page; backends are known only now.
    legend() {
      const list = this.figure.querySelector(".legend");
      if (!this.shown.keys) list.replaceChildren(...this.keys.map(legendItem));
      this.moment = this.figure.querySelector("figcaption").appendChild(document.createElement("time"));
      return new Map([...list.children].map((item) => [item.dataset.key, item.querySelector("b")]));
    }

    size() {
      return { width: Math.max(this.place.clientWidth, 80), height: Math.max(this.place.clientHeight, 80) };
    }

    fit() {
      const { width, height } = this.size();
      if (width !== this.plot.width || height !== this.plot.height) this.plot.setSize({ width, height });
    }

    options() {
      const { isLog, isStacked, lines } = this.shown;
      const series = lines.flatMap(([, width]) => this.keys.map((key) => this.line(key, width)));
      const scale = isLog ? { distr: 3, range: logarithmic } : { range: isStacked ? [0, 1] : linear };
      return {
        ...this.size(),
        padding: [8, EDGE_PX, 0, 0],
        legend: { show: false },
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: { show: !isStacked, size: 7 },
          sync: { key: "live", setSeries: false },
        },
        scales: { x: { time: false, range: () => this.span }, y: scale },
        axes: [this.timeAxis(), this.valueAxis()],
        series: [{}, ...series],
        // Each layer is filled down to the one below it.
        bands: isStacked ? series.slice(1).map((_, at) => ({ series: [at + 2, at + 1] })) : [],
        hooks: { setCursor: [() => this.plot && this.tell()] },
      };
    }

    line(key, width) {
      const paint = () => this.colours.get(key);
      const look = this.shown.isStacked ? { fill: paint, width: 0 } : { stroke: paint, width };
      return { ...look, points: { show: false, fill: paint, size: Math.max(2 * width, 3) } };
    }

    timeAxis() {
      return {
        ...this.axis(),
        grid: { show: false },
        size: 30,
        incrs: (u, at, low, high) => (high - low > 120 ? [60, 120] : high - low > 60 ? [30, 60] : [10, 30]),
        space: (u, at, low, high) => (high - low > 120 ? 46 : 64),
        values: (u, splits, at, space, step) => {
          const write = step % 60 ? toSecond : toMinute;
          return splits.map((time) => (this.hasRoom(time, write) ? write.format(1000 * time) : null));
        },
      };
    }

    // Whether the words below a moment at the right edge are not cut off.
    hasRoom(time, write) {
      const [low, high] = this.span;
      const widthPx = this.place.clientWidth - VALUES_PX - EDGE_PX;
      return ((high - time) / (high - low)) * widthPx + EDGE_PX > (write === toSecond ? 30 : 18);
    }

    valueAxis() {
      const { isLog, isStacked } = this.shown;
      const write = isStacked ? share : (value) => plain.format(value);
      return {
        ...this.axis(),
        size: VALUES_PX,
        grid: { stroke: () => this.colours.get("hair"), width: 1 },
        space: 34,
        values: (u, splits) => splits.map(write),
        ...(isLog ? { splits: logSplits, filter: (u, splits) => splits } : {}),
        ...(isStacked ? { splits: [0, 0.25, 0.5, 0.75, 1] } : {}),
      };
    }

    axis() {
      return { stroke: () => this.colours.get("muted"), font: FONT, ticks: { show: false }, gap: 6 };
    }

    // The colours of this hour: light or dark.
    get colours() {
      this.palette ??= new Map([...this.keys, "muted", "hair"].map((key) => [key, colourOf(key)]));
      return this.palette;
    }

    recolour() {
      this.palette = undefined;
      this.plot.redraw();
    }

    table() {
      const { lines, isLog, isStacked } = this.shown;
      const columns = lines.flatMap(([read]) =>
        this.keys.map((key) => column(this.rows, (row) => read(row, key), isLog)),
      );
      return [this.rows.map((row) => row.t), ...(isStacked ? stacked(this.rows, columns) : columns)];
    }

    draw(rows, span) {
      this.rows = rows;
      this.span = span;
      const table = this.table();
      this.figure.classList.toggle("empty", !table.slice(1).some((values) => values.some(Number.isFinite)));
      this.plot.setData(table);
      this.tell();
    }

    // The legend tells the moment under the cursor, or else the latest.
    tell() {
      const { left } = this.plot.cursor;
      const isPointed = left >= 0 && this.rows.length > 0;
      const at = isPointed ? this.plot.posToIdx(left) : this.rows.length - 1;
      for (const [key, place] of this.says) {
        const found = this.shown.lines.map(([read]) => recent(this.rows, (row) => read(row, key), at, this.shown.held_s));
        place.textContent = this.shown.tell(...found.map((one) => one.value));
        place.classList.toggle("old", found.some((one) => one.isOld));
      }
      this.moment.textContent = isPointed ? toSecond.format(1000 * this.rows[at].t) : "";
    }

    remove() {
      this.resizing.disconnect();
      this.moment.remove();
      this.plot.destroy();
    }
  }

  function legendItem(key) {
    const item = document.createElement("li");
    item.className = classOf(key);
    item.dataset.key = key;
    const name = document.createElement("span");
    name.textContent = key;
    item.append(name, " ", document.createElement("b"));
    return item;
  }

  let charts = [];

  // Draws all charts anew, for these backends and no others.
  function begin(backends) {
    charts.forEach((chart) => chart.remove());
    const figures = [...document.querySelectorAll("figure[data-chart]")];
    const shown = figures.filter((figure) => figure.getClientRects().length);
    charts = shown.map((figure) => new Chart(figure, backends));
  }

  function draw(points) {
    const last = points.at(-1)?.t ?? Date.now() / 1000;
    const age = last - (points[0]?.t ?? last);
    const span = SPANS_S.find((seconds) => age <= seconds) ?? SPANS_S.at(-1);
    const rows = rowsOf(points);
    charts.forEach((chart) => chart.draw(rows, [last - span, last]));
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.recolour()));

  return { isComparison, begin, draw, recent, classOf, milliseconds, rate, count, get plots() { return charts.map((chart) => chart.plot); } };
})();
