// Small pieces that every chart is made of.
const SERIES = ["--a", "--b", "--c", "--d", "--e", "--f"];

function el(name, attributes = {}, children = []) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function svg(name, attributes = {}, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "not finite";
  if (value !== 0 && (Math.abs(value) >= 1e9 || Math.abs(value) < 1e-4)) return value.toExponential(3).replace("-", "\u2212");
  const digits = Math.abs(value) >= 1000 ? 1 : 5;
  const text = Math.abs(value) >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: digits })
    : String(Number(value.toPrecision(digits)));
  return text.replace("-", "\u2212");
}

// Round numbers from low to high, about `count` of them.
function ticks(low, high, count, whole = false) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// Short words for ticks: 20k, 1.5M; all ticks of an axis have the same unit.
function tickTexts(values) {
  const largest = Math.max(...values.map(Math.abs));
  const [limit, unit] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]].find(([least]) => largest >= least) ?? [1, ""];
  const divisor = unit === "k" ? 1e3 : limit;
  return values.map((value) => {
    const wild = largest >= 1e15 || (largest > 0 && largest < 1e-3);
    const text = value === 0 ? "0" : wild ? value.toExponential(1) : `${Number((value / divisor).toPrecision(6))}${unit}`;
    return text.replace("-", "\u2212");
  });
}

function tickText(value) { return tickTexts([value])[0]; }

function scale(low, high, from, to) {
  const span = high - low || 1;
  const map = (value) => from + ((value - low) / span) * (to - from);
  map.invert = (place) => low + ((place - from) / (to - from)) * span;
  return map;
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (value !== null && value !== undefined) { if (value < low) low = value; if (value > high) high = value; }
  return low > high ? [0, 1] : low === high ? [low - 0.5, high + 0.5] : [low, high];
}

// Draws again whenever the width of the place changes.
function drawn(place, draw) {
  let width = 0;
  const again = () => {
    const now = Math.floor(place.clientWidth);
    if (now > 0 && now !== width) { width = now; draw(now); }
  };
  new ResizeObserver(again).observe(place);
  again();
  return () => { width = 0; again(); };
}

const tip = {
  show(event, text) {
    const box = document.getElementById("tip");
    box.textContent = text;
    box.hidden = false;
    const room = box.getBoundingClientRect();
    const left = Math.min(Math.max(4, event.clientX + 14), window.innerWidth - room.width - 4);
    const above = event.clientY - room.height - 12;
    box.style.left = `${left}px`;
    box.style.top = `${above < 4 ? event.clientY + 18 : above}px`;
  },
  hide() { document.getElementById("tip").hidden = true; },
};

// A canvas of axes: returns the SVG, its inner box and the two scales.
function axes(place, width, { height = 230, x, y, xLabel = "", yLabel = "", xTicks, wholeX = false, wholeY = false, left, top }) {
  const yTicks = ticks(y[0], y[1], Math.max(2, Math.floor(height / 45)), wholeY);
  const yTexts = tickTexts(yTicks);
  const longest = Math.max(...yTexts.map((text) => text.length));
  const box = { left: left ?? Math.max(30, 14 + longest * 7), right: width - 10, top: top ?? (yLabel ? 22 : 8), bottom: height - (xLabel ? 38 : 22) };
  const sx = scale(x[0], x[1], box.left, box.right), sy = scale(y[0], y[1], box.bottom, box.top);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": place.dataset.title || yLabel });
  yTicks.forEach((tick, at) => {
    root.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: sy(tick), y2: sy(tick) }));
    root.append(svg("text", { x: box.left - 6, y: sy(tick) + 4, "text-anchor": "end" }, yTexts[at]));
  });
  root.append(svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  const places = ticks(x[0], x[1], Math.max(2, Math.floor((box.right - box.left) / 75)), wholeX), texts = tickTexts(places);
  const shown = xTicks ?? places.map((at, i) => [at, texts[i]]);
  for (const [at, text] of shown) {
    root.append(svg("line", { class: "axis", x1: sx(at), x2: sx(at), y1: box.bottom, y2: box.bottom + 4 }));
    root.append(svg("text", { x: sx(at), y: box.bottom + 17, "text-anchor": "middle" }, text));
  }
  if (xLabel) root.append(svg("text", { class: "label", x: box.right, y: height - 4, "text-anchor": "end" }, xLabel));
  if (yLabel) root.append(svg("text", { class: "label", x: 0, y: 12 }, yLabel));
  place.replaceChildren(root);
  return { root, box, sx, sy };
}

function path(points) {
  let text = "", pen = "M";
  for (const [x, y] of points) {
    if (y === null || Number.isNaN(y)) { pen = "M"; continue; }
    text += `${pen}${x.toFixed(1)},${y.toFixed(1)}`;
    pen = "L";
  }
  return text;
}
