// One function a kind of figure: each is given the place to fill and the data to show.
const UNITS = { returns: ["return of an episode", "episodes"], lengths: ["steps of an episode", "episodes"], rewards: ["reward of a step", "steps"], actions: ["action", "steps"] };

function share(count, total) {
  const percent = (100 * count) / total;
  return `${percent > 0 && percent < 0.1 ? "< 0.1" : percent.toFixed(1)} %`;
}

// Bars that can be seen on a logarithmic axis as well; the switch says which it is.
function withSwitch(place, counts, draw) {
  const positive = counts.filter((count) => count > 0);
  const uneven = positive.length > 1 && Math.max(...positive) / Math.min(...positive) > 50;
  const state = { log: false };
  const plot = el("div", { "data-title": place.dataset.title || "" });
  place.replaceChildren();
  if (uneven) {
    const button = el("button", { type: "button", class: "small", "aria-pressed": "false", text: "log scale" });
    const bar = el("div", { class: "switches" }, [button]);
    place.append(bar);
    button.addEventListener("click", () => { state.log = !state.log; button.setAttribute("aria-pressed", String(state.log)); redraw(); });
  }
  place.append(plot);
  const redraw = drawn(plot, (width) => {
    draw(plot, width, state.log);
    if (uneven) place.firstChild.style.top = `${plot.firstChild.getAttribute("height") - 22}px`;
  });
}

function bars(place, width, log, { x, xTicks, spans, counts, names, xLabel, yLabel, wholeX, marks = [] }) {
  const total = counts.reduce((a, b) => a + b, 0);
  const top = Math.max(1, ...counts);
  const y = log ? [0, Math.log10(top) + 0.3] : [0, top * 1.06];
  const frame = axes(place, width, { x, y, xLabel, yLabel: log ? `${yLabel} (log)` : yLabel, xTicks, wholeX, wholeY: !log, top: marks.length ? 52 : undefined, height: marks.length ? 260 : 230 });
  if (log) relabel(frame, top);
  const height = (count) => (count <= 0 ? 0 : log ? Math.log10(count) + 0.15 : count);
  counts.forEach((count, at) => {
    const [from, to] = spans[at].map(frame.sx);
    const gap = to - from > 6 ? 1 : 0;
    const group = svg("g");
    const ceiling = count > 0 ? Math.min(frame.sy(height(count)), frame.box.bottom - 1) : frame.box.bottom;
    group.append(svg("rect", { class: "bar", x: from + gap / 2, width: Math.max(0.5, to - from - gap), y: ceiling, height: frame.box.bottom - ceiling }));
    group.append(svg("rect", { fill: "transparent", x: from, width: Math.max(0.5, to - from), y: frame.box.top, height: frame.box.bottom - frame.box.top }));
    group.addEventListener("pointermove", (event) => {
      group.classList.add("hit");
      tip.show(event, `${names[at]}\n${number(count)} ${yLabel}, ${share(count, total)}`);
    });
    group.addEventListener("pointerleave", () => { group.classList.remove("hit"); tip.hide(); });
    frame.root.append(group);
  });
  const places = marks.map((mark) => frame.sx(mark.at));
  const close = places.length > 0 && Math.max(...places) - Math.min(...places) < 90;
  const end = places[0] > (frame.box.left + frame.box.right) / 2;
  for (const { at, text, row = 0 } of marks) {
    const place_ = frame.sx(at), beside = !close ? place_ : end ? Math.min(...places) : Math.max(...places);
    frame.root.append(svg("line", { class: "mark", x1: place_, x2: place_, y1: frame.box.top - 20 + 14 * row, y2: frame.box.bottom }));
    frame.root.append(svg("text", { class: "label", x: beside + (end ? -5 : 5), y: frame.box.top - 20 + 14 * row, "text-anchor": end ? "end" : "start" }, text));
  }
}

// On a logarithmic axis the grid stands at powers of ten.
function relabel(frame, top) {
  frame.root.querySelectorAll(".grid").forEach((line) => line.remove());
  [...frame.root.querySelectorAll('text[text-anchor="end"]:not(.label)')].forEach((text) => text.remove());
  for (let power = 0; 10 ** power <= top * 1.5; power++) {
    const at = frame.sy(power + 0.15);
    frame.root.prepend(svg("line", { class: "grid", x1: frame.box.left, x2: frame.box.right, y1: at, y2: at }));
    frame.root.append(svg("text", { x: frame.box.left - 6, y: at + 4, "text-anchor": "end" }, tickText(10 ** power)));
  }
}

const CHARTS = {
  histogram(place, data, key) {
    const [xLabel, yLabel] = UNITS[key];
    withSwitch(place, data.counts, (plot, width, log) => {
      const marks = data.mean === undefined ? [] : [{ at: data.mean, text: `mean ${number(data.mean)}` }, { at: data.median, text: `median ${number(data.median)}`, row: 1 }];
      if (data.values) {
        const every = Math.ceil(data.values.length / Math.max(2, width / 62));
        const spans = data.values.map((_, at) => [at - 0.36, at + 0.36]);
        const words = tickTexts(data.values);
        const xTicks = words.map((text, at) => [at, text]).filter((_, at) => at % every === 0);
        const places = marks.map((mark) => ({ ...mark, at: between(data.values, mark.at) }));
        bars(plot, width, log, { x: [-0.7, data.values.length - 0.3], xTicks, spans, counts: data.counts, names: data.values.map(number), xLabel, yLabel, marks: places });
        return;
      }
      const { edges, counts } = data;
      const spans = counts.map((_, at) => [edges[at], edges[at + 1]]);
      const names = spans.map(([from, to]) => `${number(from)} to ${number(to)}`);
      bars(plot, width, log, { x: [edges[0], edges[edges.length - 1]], spans, counts, names, xLabel, yLabel, marks, wholeX: key === "lengths" });
    });
  },

  bars(place, data, key) {
    const names = data.counts.map((_, at) => (data.names ? data.names[at] : String(data.first + at)));
    withSwitch(place, data.counts, (plot, width, log) => {
      const longest = Math.max(...names.map((name) => name.length));
      const fits = longest * 6.6 < (width - 50) / names.length;
      const every = fits ? 1 : Math.ceil(names.length / Math.max(2, (width - 50) / 26));
      const xTicks = names.map((name, at) => [at, fits ? name : String(data.first + at)]).filter((_, at) => at % every === 0);
      const full = names.map((name, at) => (data.names ? `${data.first + at}: ${name}` : `action ${name}`));
      bars(plot, width, log, { x: [-0.6, names.length - 0.4], xTicks, spans: names.map((_, at) => [at - 0.38, at + 0.38]), counts: data.counts, names: full, xLabel: UNITS[key][0], yLabel: UNITS[key][1] });
      if (data.names && !fits) plot.append(el("p", { class: "note", text: full.join(", ") }));
    });
  },

  recording(place, data) {
    drawn(place, (width) => {
      const y = extent([...(data.low ?? data.y), ...(data.high ?? data.y)]);
      const pad = (y[1] - y[0]) * 0.06;
      const frame = axes(place, width, { x: [data.x[0], Math.max(data.x[data.x.length - 1], data.x[0] + 1)], y: [y[0] - pad, y[1] + pad], xLabel: "episode", yLabel: "return", wholeX: true });
      if (data.low) {
        const up = data.x.map((x, at) => [frame.sx(x), frame.sy(data.high[at])]);
        const down = data.x.map((x, at) => [frame.sx(x), frame.sy(data.low[at])]).reverse();
        frame.root.append(svg("path", { class: "soft", d: `${path([...up, ...down])}Z` }));
        frame.root.append(svg("path", { class: "line", d: path(data.x.map((x, at) => [frame.sx(x), frame.sy(data.y[at])])) }));
      } else {
        data.x.forEach((x, at) => { if (data.y[at] !== null) frame.root.append(svg("circle", { class: "dot", cx: frame.sx(x), cy: frame.sy(data.y[at]), r: data.x.length > 250 ? 2 : 3, "fill-opacity": 0.75 })); });
      }
      follow(frame, data.x, (at) => `episode ${number(data.x[at])}\nreturn ${number(data.y[at])}`, (at) => data.y[at]);
    });
  },

  lines(place, data) {
    const holder = el("div", { "data-title": place.dataset.title || "" });
    const legend = el("div", { class: "legend" }, data.lines.map((line) => {
      const sample = el("i"); sample.style.color = `var(${SERIES[line.color % SERIES.length]})`;
      return el("span", { class: "switches" }, [sample, document.createTextNode(line.name)]);
    }));
    place.replaceChildren(legend, holder);
    drawn(holder, (width) => {
      const spread = (line, sign) => (line.spread ? line.y.map((y, at) => (y === null || line.spread[at] === null ? null : y + sign * line.spread[at])) : []);
      const y = extent([...data.lines.flatMap((line) => [...line.y, ...spread(line, 1), ...spread(line, -1)]), ...data.marks.map((mark) => mark.y)]);
      const pad = (y[1] - y[0]) * 0.06;
      const frame = axes(holder, width, { height: 260, x: extent(data.lines.flatMap((line) => line.x)), y: [y[0] - pad, y[1] + pad], xLabel: "training step", yLabel: data.yLabel, wholeX: true });
      for (const mark of data.marks) {
        frame.root.append(svg("line", { class: "mark", x1: frame.box.left, x2: frame.box.right, y1: frame.sy(mark.y), y2: frame.sy(mark.y) }));
        frame.root.append(svg("text", { class: "label halo", x: frame.box.right, y: frame.sy(mark.y) - 5, "text-anchor": "end" }, `${mark.label} ${number(mark.y)}`));
      }
      data.lines.forEach((line) => {
        const color = `var(${SERIES[line.color % SERIES.length]})`;
        if (line.spread) {
          const up = spread(line, 1).map((v, i) => [frame.sx(line.x[i]), v === null ? null : frame.sy(v)]);
          const down = spread(line, -1).map((v, i) => [frame.sx(line.x[i]), v === null ? null : frame.sy(v)]).reverse();
          const band = svg("path", { d: `${path([...up, ...down])}Z` });
          band.style.fill = color; band.style.fillOpacity = 0.16; frame.root.append(band);
        }
        const drawnLine = svg("path", { class: "line", d: path(line.x.map((x, i) => [frame.sx(x), line.y[i] === null ? null : frame.sy(line.y[i])])) });
        drawnLine.style.stroke = color; frame.root.append(drawnLine);
        if (line.x.length === 1) frame.root.append(svg("circle", { class: "dot", cx: frame.sx(line.x[0]), cy: frame.sy(line.y[0]), r: 3 }));
      });
      const xs = [...new Set(data.lines.flatMap((line) => line.x))].sort((a, b) => a - b);
      follow(frame, xs, (at) => [`step ${number(xs[at])}`, ...data.lines.map((line) => { const i = line.x.indexOf(xs[at]); return i < 0 ? "" : `${line.name}: ${number(line.y[i])}`; }).filter(Boolean)].join("\n"), () => null);
    });
  },

  elements(place, data, key) {
    const label = key.replace(/^observations\/?/, "").replace(/^actions$/, "action");
    if (data.histograms.length) {
      const rows = data.histograms.map((counts, at) => elementRow(counts, data, at, label));
      place.replaceChildren(el("div", { class: "elements" }, rows));
      return;
    }
    drawn(place, (width) => {
      const index = data.mean.map((_, at) => at);
      const y = extent([...data.min, ...data.max]);
      const frame = axes(place, width, { x: [0, Math.max(1, data.size - 1)], y, xLabel: "element", yLabel: "value", wholeX: true });
      const band = (low, high, opacity) => {
        const up = index.map((i) => [frame.sx(i), high(i) === null ? null : frame.sy(high(i))]);
        const down = index.map((i) => [frame.sx(i), low(i) === null ? null : frame.sy(low(i))]).reverse();
        const shape = svg("path", { d: `${path([...up, ...down])}Z` });
        shape.style.fill = "var(--a)"; shape.style.fillOpacity = opacity; frame.root.append(shape);
      };
      band((i) => data.min[i], (i) => data.max[i], 0.16);
      band((i) => data.mean[i] - data.std[i], (i) => data.mean[i] + data.std[i], 0.35);
      frame.root.append(svg("path", { class: "line", d: path(index.map((i) => [frame.sx(i), frame.sy(data.mean[i])])) }));
      follow(frame, index, (at) => summary(data, at, `element ${at}`), (at) => data.mean[at]);
    });
  },

  average(place, data) {
    const picture = (name, words) => el("img", { src: `data:image/png;base64,${data[name]}`, alt: words });
    place.replaceChildren(el("div", { class: "pair" }, [picture("mean", "mean of each pixel"), picture("std", "standard deviation of each pixel")]));
  },

  sheet(place, data) {
    const names = (DATA.figures.actions || {}).names;
    const cards = data.map((row) => {
      const strip = el("div", { class: "strip" }, [el("img", { src: `data:image/png;base64,${row.image}`, alt: `frames of transition ${row.row}` })]);
      strip.style.setProperty("--frames", row.frames);
      const action = typeof row.action === "number" && names ? names[row.action] : JSON.stringify(row.action);
      return el("div", {}, [strip, el("p", { text: `row ${number(row.row)}: ${action}, reward ${number(row.reward)}${row.terminal ? ", terminal" : ""}` })]);
    });
    place.replaceChildren(el("div", { class: "sheet" }, cards));
  },
};

function summary(data, at, name) {
  return `${name}\nmin ${number(data.min[at])}\nmean ${number(data.mean[at])} ± ${number(data.std[at])}\nmax ${number(data.max[at])}`;
}

function elementName(data, at, label) {
  if (!data.shape.length) return label || "value";
  const places = [];
  let rest = at;
  for (const size of [...data.shape].reverse()) { places.unshift(rest % size); rest = Math.floor(rest / size); }
  return `${label}[${places.join(", ")}]`;
}

// A small histogram from minimum to maximum with mean and spread below it.
function elementRow(counts, data, at, label) {
  const place = el("div");
  const name = elementName(data, at, label);
  drawn(place, (width) => {
    const left = Math.min(96, 14 + name.length * 7), right = width - 2, base = 30;
    const root = svg("svg", { viewBox: `0 0 ${width} 56`, height: 56, role: "img", "aria-label": summary(data, at, name) });
    root.append(svg("text", { class: "label", x: 0, y: base }, name));
    if (data.min[at] === null) {
      root.append(svg("text", { x: left, y: base }, "no finite value"));
    } else {
      const top = Math.max(...counts, 1), step = (right - left) / counts.length;
      counts.forEach((count, bin) => { if (count) { const h = Math.max(0.75, (count / top) * 26); root.append(svg("rect", { class: "bar", x: left + bin * step, width: Math.max(0.5, step - 0.5), y: base - h, height: h })); } });
      const x = data.min[at] === data.max[at] ? () => (left + right) / 2 : scale(data.min[at], data.max[at], left, right);
      root.append(svg("line", { class: "axis", x1: left, x2: right, y1: base + 0.5, y2: base + 0.5 }));
      const low = Math.max(left, x(data.mean[at] - data.std[at])), high = Math.min(right, x(data.mean[at] + data.std[at]));
      const bar = svg("line", { x1: low, x2: high, y1: base + 6, y2: base + 6, "stroke-width": 3 });
      bar.style.stroke = "var(--b)"; bar.style.strokeOpacity = 0.55; root.append(bar);
      const dot = svg("circle", { cx: x(data.mean[at]), cy: base + 6, r: 3.2 });
      dot.style.fill = "var(--b)"; root.append(dot);
      root.append(svg("text", { x: left, y: base + 23 }, tickText(Number(data.min[at].toPrecision(3)))));
      if (data.min[at] !== data.max[at]) root.append(svg("text", { x: right, y: base + 23, "text-anchor": "end" }, tickText(Number(data.max[at].toPrecision(3)))));
    }
    root.addEventListener("pointermove", (event) => tip.show(event, summary(data, at, name)));
    root.addEventListener("pointerleave", tip.hide);
    place.replaceChildren(root);
  });
  return place;
}

// Where a number stands among bars that are a step apart.
function between(values, wanted) {
  const after = values.findIndex((value) => value >= wanted);
  if (after <= 0) return Math.max(0, after);
  return after - 1 + (wanted - values[after - 1]) / (values[after] - values[after - 1]);
}

// Shows the nearest point under the pointer.
function follow(frame, xs, words, height) {
  const line = svg("line", { class: "cursor", y1: frame.box.top, y2: frame.box.bottom, visibility: "hidden", "stroke-opacity": 0.5 });
  const dot = svg("circle", { r: 4, visibility: "hidden" });
  dot.style.fill = "var(--b)";
  const field = svg("rect", { fill: "transparent", x: frame.box.left, y: frame.box.top, width: Math.max(0, frame.box.right - frame.box.left), height: frame.box.bottom - frame.box.top });
  frame.root.append(line, dot, field);
  field.addEventListener("pointermove", (event) => {
    const rect = frame.root.getBoundingClientRect();
    const wanted = frame.sx.invert(event.clientX - rect.left);
    let best = 0;
    xs.forEach((x, at) => { if (Math.abs(x - wanted) < Math.abs(xs[best] - wanted)) best = at; });
    const x = frame.sx(xs[best]), y = height(best);
    line.setAttribute("x1", x); line.setAttribute("x2", x); line.setAttribute("visibility", "visible");
    if (y !== null) { dot.setAttribute("cx", x); dot.setAttribute("cy", frame.sy(y)); dot.setAttribute("visibility", "visible"); }
    tip.show(event, words(best));
  });
  field.addEventListener("pointerleave", () => { line.setAttribute("visibility", "hidden"); dot.setAttribute("visibility", "hidden"); tip.hide(); });
}
