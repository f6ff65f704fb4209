// Charts of the first page. Canvas knows no CSS variables, so colours are read from an element that uses them.
/* global uPlot */

function colours() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found = Object.fromEntries(
    ["text", "dim", "line", "accent", "bad", "warn", "ok", "line-strong"].map((name) => [name, read(name)]),
  );
  found.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  probe.remove();
  return found;
}

const faded = (colour, share) => `color-mix(in srgb, ${colour} ${share}%, transparent)`;
const whole = (value) => (value == null ? "–" : value.toLocaleString("en"));
const milliseconds = (value) =>
  value == null ? "–" : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
const dollars = (value) => (value == null ? "–" : `$${value < 1 ? value.toFixed(4) : value.toFixed(2)}`);
// Nothing is said where the pointer is not: a row of dashes would only be noise.
const said = (tell) => (plot, value, at, index) => (index == null ? "" : tell(plot, value, at, index));

// Vertical marks where something was changed; the legend tells which, when the pointer is near.
function marks(data, paint, note) {
  return {
    hooks: {
      draw: [(plot) => {
        const { ctx, bbox } = plot;
        ctx.save();
        ctx.strokeStyle = paint.warn;
        ctx.fillStyle = paint.warn;
        ctx.lineWidth = devicePixelRatio;
        for (const mark of data.marks) {
          const x = Math.round(plot.valToPos(mark.at, "x", true));
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          const half = 3.5 * devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(x - half, bbox.top);
          ctx.lineTo(x + half, bbox.top);
          ctx.lineTo(x, bbox.top + half * 1.6);
          ctx.fill();
        }
        ctx.restore();
      }],
      setCursor: [(plot) => {
        const near = data.marks.filter((mark) => Math.abs(plot.valToPos(mark.at, "x") - plot.cursor.left) < 8);
        note.textContent = near.map((mark) => mark.text).join(" · ");
      }],
    },
  };
}

function kinds(data, paint) {
  const bars = uPlot.paths.bars({ size: [0.72, 40], align: 1 });
  const line = uPlot.paths.linear();
  // A line of few values has gaps on both sides of some: only a point shows those.
  const known = data.p50.filter((value) => value != null).length;
  const dots = { show: known < data.time.length, size: known < 4 ? 8 : known < 12 ? 6 : 4 };
  const series = (label, colour, more) => ({
    label, stroke: colour, width: 1.5, ...more, value: said(more.value),
    points: { ...dots, show: dots.show && more.paths === line, fill: colour },
  });
  const stacked = data.ok.map((value, at) => value + data.errors[at]);
  return {
    traffic: {
      data: [data.time, stacked, data.errors],
      series: [
        series(data.labels.ok, paint.accent, {
          paths: bars, width: 0, fill: faded(paint.accent, 72), value: (_plot, _value, _at, index) =>
            index == null ? "–" : whole(data.ok[index]),
        }),
        series(data.labels.errors, paint.bad, {
          paths: bars, width: 0, fill: paint.bad, value: (_plot, value) => whole(value),
        }),
      ],
      axis: (values) => values.map((value) => (value >= 1e4 ? `${value / 1e3}k` : whole(value))),
    },
    latency: {
      data: [data.time, data.p50, data.p95],
      series: [
        series(data.labels.p50, paint.accent, { paths: line, value: (_plot, value) => milliseconds(value) }),
        series(data.labels.p95, paint.warn, { paths: line, value: (_plot, value) => milliseconds(value) }),
      ],
      axis: (values) => values.map((value) => (value >= 1000 ? `${value / 1000} s` : `${value} ms`)),
    },
    cost: {
      data: [data.time, data.cost],
      series: [
        series(data.labels.cost, paint.accent, {
          paths: bars, width: 0, fill: faded(paint.accent, 72), value: (_plot, value) => dollars(value),
        }),
      ],
      axis: (values) => {
        const step = values.length > 1 ? values[1] - values[0] : 1;
        const digits = Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
        return values.map((value) => `$${value.toFixed(digits)}`);
      },
    },
  };
}

function draw(place, data, paint) {
  const kind = kinds(data, paint)[place.dataset.plot];
  const note = document.createElement("p");
  note.className = "plot-note";
  const axis = {
    stroke: paint.dim, font: paint.font, grid: { stroke: paint.line, width: 1 }, ticks: { show: false },
  };
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, {
    timeZone: data.zone, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  });
  const plot = new uPlot({
    width: place.clientWidth,
    height: place.closest(".full") ? 190 : 170,
    cursor: { sync: { key: "home" }, points: { size: 6 }, drag: { x: false, y: false } },
    padding: [10, 18, 0, 0],
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), data.zone),
    scales: {
      // To the end of the last step: what happened in it is marked there.
      x: { range: () => [data.time[0], data.time.at(-1) + data.step] },
      y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.12 : 1] },
    },
    series: [
      { label: data.labels.time, value: said((_plot, value) => clock.format(value * 1e3)) },
      ...kind.series,
    ],
    axes: [
      { ...axis, values: [
        [86400, "{MM}/{DD}", null, null, null, null, null, null, 1],
        [3600, "{HH}:{mm}", "\n{MM}/{DD}", null, null, null, null, null, 1],
        [60, "{HH}:{mm}", "\n{MM}/{DD}", null, null, null, null, null, 1],
      ] },
      { ...axis, size: 56, values: (_plot, values) => kind.axis(values) },
    ],
    plugins: [marks(data, paint, note)],
  }, kind.data, place);
  place.append(note);
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: plot.height })).observe(place);
  return plot;
}

export async function startCharts() {
  const box = document.querySelector("[data-charts]");
  if (!box) return;
  const answer = await fetch(box.dataset.charts, { headers: { accept: "application/json" } });
  if (!answer.ok) {
    box.append(box.dataset.failed);
    return;
  }
  const data = await answer.json();
  let plots = [];
  const paintAll = () => {
    for (const plot of plots) plot.root.parentElement.replaceChildren();
    const paint = colours();
    plots = [...box.querySelectorAll("[data-plot]")].map((place) => draw(place, data, paint));
  };
  paintAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintAll);
}
