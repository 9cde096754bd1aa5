// An episode step by step: its frames, if there are any, and its numbers as lines with one cursor.
const FRAMES_PER_SECOND = 15;
const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];

CHARTS.player = (place, episodes) => {
  const hasFilm = Object.keys(DATA.films).length > 0;
  const state = { episode: null, film: null, step: 0, playing: false, speed: 1, timer: 0, panels: [], strips: new Map() };
  const canvas = el("canvas", { width: 84, height: 84, role: "img", "aria-label": "frame of the episode" });
  const none = el("div", { class: "none", hidden: "", text: "The frame of this step is not in the page." });
  const choose = el("select", { "aria-label": "Episode" }, episodes.map((episode, at) => el("option", { value: String(at), text: `Episode ${number(episode.number)}: ${episode.reason}, return ${number(episode.return)}, ${number(episode.length)} steps` })));
  const button = (text, label, action) => { const made = el("button", { type: "button", text, "aria-label": label, title: label }); made.addEventListener("click", action); return made; };
  const play = button("Play", "Play or pause", () => setPlaying(!state.playing));
  play.classList.add("play");
  const speed = el("select", { "aria-label": "Speed" }, SPEEDS.map((value) => el("option", { value: String(value), text: `${value} ×`, ...(value === 1 ? { selected: "" } : {}) })));
  const back = button("\u2039", "One step back", () => step(-1)), forward = button("\u203a", "One step on", () => step(1));
  const range = el("input", { type: "range", min: "0", step: "1", value: "0", "aria-label": "Step of the episode" });
  const track = el("div", { class: "track" });
  const now = {};
  const readout = el("dl", { class: "now" }, ["Step", "Action", "Reward", "Return so far", "End"].map((name) => { now[name] = el("dd", {}); return el("div", {}, [el("dt", { text: name }), now[name]]); }));
  const panels = el("div");
  const film = el("div", {}, hasFilm ? [canvas, none] : []);
  const side = el("div", {}, [choose, readout, el("div", { class: "controls" }, [back, play, forward, speed]), track, range, panels]);
  side.style.minWidth = "0";
  const root = el("div", { class: `player${hasFilm ? " has-film" : ""}`, tabindex: "0" }, hasFilm ? [film, side] : [side]);
  place.replaceChildren(root);

  const last = () => (state.film && state.film.total > state.episode.length ? state.episode.steps : state.episode.steps - 1);

  function load(at) {
    setPlaying(false);
    state.episode = episodes[at];
    state.film = DATA.films[String(state.episode.number)] || null;
    state.strips.clear();
    let sum = 0;
    state.returns = state.episode.rewards.map((reward) => (sum += reward ?? 0));
    delete canvas.dataset.step;
    if (state.film) { canvas.width = state.film.width; canvas.height = state.film.height; none.style.aspectRatio = `${state.film.width} / ${state.film.height}`; }
    range.max = String(last());
    drawTrack();
    drawPanels();
    go(0);
  }

  function go(to) {
    state.step = Math.max(0, Math.min(last(), to));
    range.value = String(state.step);
    const { episode, step: t } = state, after = t >= episode.steps;
    now.Step.textContent = `${number(t)} of ${number(episode.length)}`;
    now.Action.textContent = after ? "none" : actionText(episode, t);
    now.Reward.textContent = after ? "none" : number(episode.rewards[t]);
    now["Return so far"].textContent = number(state.returns[Math.min(t, episode.steps - 1)]);
    const at = Math.min(t, episode.steps - 1), ends = [episode.terminals.includes(at) ? "terminal" : "", episode.timeouts.includes(at) ? "timeout" : ""].filter(Boolean).join(", ");
    now.End.textContent = ends || "\u2013";
    range.setAttribute("aria-valuetext", `step ${t}, reward ${now.Reward.textContent}`);
    for (const move of state.panels) move(t);
    if (state.film) showFrame(t);
  }

  function showFrame(t) {
    const { film } = state, missing = t >= film.count;
    none.hidden = !missing;
    canvas.hidden = missing;
    if (missing) return;
    const number_ = Math.floor(t / film.perStrip);
    const image = strip(number_);
    const paint = () => {
      if (state.film !== film || state.step !== t) return;
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      context.drawImage(image, 0, (t % film.perStrip) * film.height, film.width, film.height, 0, 0, film.width, film.height);
      canvas.dataset.step = String(t);
    };
    if (image.complete && image.naturalWidth) paint(); else image.addEventListener("load", paint, { once: true });
    if (number_ + 1 < film.strips.length) strip(number_ + 1);
  }

  function strip(at) {
    if (!state.strips.has(at)) {
      const image = new Image();
      image.src = `data:image/png;base64,${state.film.strips[at]}`;
      state.strips.set(at, image);
    }
    return state.strips.get(at);
  }

  function step(by) { setPlaying(false); go(state.step + by); }

  function setPlaying(wanted) {
    state.playing = wanted && state.episode !== null;
    play.textContent = state.playing ? "Pause" : "Play";
    cancelAnimationFrame(state.timer);
    if (!state.playing) return;
    if (state.step >= last()) go(0);
    let due = performance.now();
    const tick = (time) => {
      const wait = 1000 / (FRAMES_PER_SECOND * state.speed);
      let moved = 0;
      while (time - due >= wait && moved < 8) { due += wait; moved += 1; }
      if (moved === 8) due = time;
      if (moved) go(state.step + moved);
      if (state.step >= last()) { setPlaying(false); return; }
      state.timer = requestAnimationFrame(tick);
    };
    state.timer = requestAnimationFrame(tick);
  }

  // Rewards, ends and missing frames along the episode; a click or a drag goes there.
  function drawTrack() {
    state.panels = [];
    track.replaceChildren();
    const { episode } = state;
    const sizes = episode.rewards.map((reward) => Math.abs(reward ?? 0));
    const largest = Math.max(...sizes, 1e-12), constant = new Set(episode.rewards).size === 1;
    drawn(track, (width) => {
      const height = 40, middle = 20;
      const x = scale(0, Math.max(1, last()), 8, width - 8);
      const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "rewards and ends along the episode" });
      root.style.cursor = "pointer"; root.style.touchAction = "none";
      if (state.film && state.film.count <= last()) root.append(hatch(x(state.film.count), x(last()), height));
      root.append(svg("line", { class: "axis", x1: x(0), x2: x(last()), y1: middle, y2: middle }));
      if (!constant) {
        const merged = new Map();
        episode.rewards.forEach((reward, t) => { if (reward) { const at = Math.round(x(t)); if (!merged.has(at) || Math.abs(merged.get(at)) < Math.abs(reward)) merged.set(at, reward); } });
        for (const [at, reward] of merged) {
          const tall = 3 + 13 * (Math.abs(reward) / largest);
          const line = svg("line", { class: "reward", x1: at, x2: at, y1: middle, y2: reward > 0 ? middle - tall : middle + tall, "stroke-width": merged.size > width / 3 ? 1 : 2 });
          line.style.stroke = reward > 0 ? "var(--good)" : "var(--bad)";
          root.append(line);
        }
      }
      for (const [steps, word] of [[episode.terminals, "terminal"], [episode.timeouts, "timeout"]]) {
        for (const t of steps.slice(0, 200)) {
          const mark = svg("path", { class: `end ${word}`, d: word === "terminal" ? `M${x(t) - 5},${middle - 5}L${x(t) + 5},${middle + 5}M${x(t) + 5},${middle - 5}L${x(t) - 5},${middle + 5}` : `M${x(t)},${middle - 8}V${middle + 8}M${x(t) - 4},${middle - 8}H${x(t) + 4}M${x(t) - 4},${middle + 8}H${x(t) + 4}`, fill: "none", "stroke-width": 2.2 });
          mark.style.stroke = "var(--end)";
          mark.append(svg("title", {}, `${word} after step ${t}`));
          root.append(mark);
        }
      }
      const head = svg("line", { class: "cursor", y1: 0, y2: height, "stroke-width": 1.5 });
      root.append(head);
      const move = (t) => { head.setAttribute("x1", x(t)); head.setAttribute("x2", x(t)); };
      move(state.step);
      state.panels[0] = move;
      const seek = (event) => { setPlaying(false); go(Math.round(x.invert(event.clientX - root.getBoundingClientRect().left))); };
      root.addEventListener("pointerdown", (event) => { root.setPointerCapture(event.pointerId); seek(event); });
      root.addEventListener("pointermove", (event) => { if (root.hasPointerCapture(event.pointerId)) seek(event); });
      track.replaceChildren(root);
    });
  }

  function hatch(from, to, height) {
    const zone = svg("rect", { x: from, width: Math.max(0, to - from), y: 4, height: height - 8 });
    zone.style.fill = "var(--rule)";
    zone.append(svg("title", {}, "frames of these steps are not in the page"));
    return zone;
  }

  function drawPanels() {
    panels.replaceChildren();
    const { episode } = state;
    const constant = new Set(episode.rewards).size === 1;
    panel("Return so far", [{ name: "return", values: state.returns }], 1, 130);
    if (!hasFilm && !constant) panel("Reward", [{ name: "reward", values: episode.rewards }], 1, 110);
    if (episode.lines.length) panel("Observation", episode.lines, 4, 190);
    if (!hasFilm && !(episode.actionNames && episode.actions.length === 1)) panel("Action", episode.actions.map((values, at) => ({ name: episode.actions.length > 1 ? `action[${at}]` : "action", values })), 1, 140);
  }

  // Lines over the steps, of which some can be switched on and off.
  function panel(title, lines, shownFirst, height) {
    const shown = new Set(lines.slice(0, shownFirst).map((_, at) => at));
    const colors = new Map();
    const holder = el("div", { "data-title": title });
    const legend = el("div", { class: "legend", role: "group", "aria-label": `${title}: lines shown` });
    const slot = state.panels.length;
    state.panels.push(() => {});
    panels.append(el("p", { class: "panel-title", text: title }));
    if (lines.length > 1) panels.append(legend);
    panels.append(holder);
    const color = (at) => {
      if (!colors.has(at)) { const used = new Set([...colors].filter(([line]) => shown.has(line)).map(([, c]) => c)); colors.set(at, SERIES.find((c) => !used.has(c)) ?? SERIES[at % SERIES.length]); }
      return `var(${colors.get(at)})`;
    };
    const redraw = drawn(holder, (width) => {
      const visible = [...shown].sort((a, b) => a - b);
      const y = extent(visible.flatMap((at) => lines[at].values)), pad = (y[1] - y[0]) * 0.08;
      const frame = axes(holder, width, { height, x: [0, Math.max(1, last())], y: [y[0] - pad, y[1] + pad], wholeX: true, left: 46 });
      for (const at of visible) {
        const line = svg("path", { class: "line", d: path(lines[at].values.map((value, t) => [frame.sx(t), value === null ? null : frame.sy(value)])) });
        line.style.stroke = color(at); line.style.strokeWidth = "1.3"; frame.root.append(line);
      }
      const head = svg("line", { class: "cursor", y1: frame.box.top, y2: frame.box.bottom, "stroke-opacity": 0.6 });
      frame.root.append(head);
      state.panels[slot] = (t) => { head.setAttribute("x1", frame.sx(t)); head.setAttribute("x2", frame.sx(t)); };
      state.panels[slot](state.step);
      const field = svg("rect", { fill: "transparent", x: frame.box.left, y: frame.box.top, width: Math.max(0, frame.box.right - frame.box.left), height: frame.box.bottom - frame.box.top });
      frame.root.append(field);
      const under = (event) => Math.max(0, Math.min(state.episode.steps - 1, Math.round(frame.sx.invert(event.clientX - frame.root.getBoundingClientRect().left))));
      field.addEventListener("pointermove", (event) => tip.show(event, [`step ${number(under(event))}`, ...visible.map((at) => `${lines[at].name} ${number(lines[at].values[under(event)])}`)].join("\n")));
      field.addEventListener("pointerleave", tip.hide);
      field.addEventListener("click", (event) => { setPlaying(false); go(under(event)); });
    });
    lines.forEach((line, at) => {
      const sample = el("i");
      const chip = el("button", { type: "button", "aria-pressed": String(shown.has(at)) }, [sample, document.createTextNode(line.name)]);
      const paint = () => { chip.setAttribute("aria-pressed", String(shown.has(at))); sample.style.color = shown.has(at) ? color(at) : "transparent"; };
      chip.addEventListener("click", () => { if (shown.has(at)) { if (shown.size > 1) { shown.delete(at); colors.delete(at); } } else shown.add(at); paint(); redraw(); });
      paint();
      legend.append(chip);
    });
  }

  choose.addEventListener("change", () => load(Number(choose.value)));
  speed.addEventListener("change", () => { state.speed = Number(speed.value); });
  range.addEventListener("input", () => { setPlaying(false); go(Number(range.value)); });
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const many = event.shiftKey ? 10 : 1;
    const actions = { ArrowLeft: () => step(-many), ArrowRight: () => step(many), Home: () => step(-Infinity), End: () => step(Infinity) };
    if (event.target.tagName !== "BUTTON") actions[" "] = () => setPlaying(!state.playing);
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
  load(0);
};

function actionText(episode, t) {
  if (episode.numActions > 1) {
    const shown = episode.actions.slice(0, 6).map((values) => (values[t] === null ? "?" : values[t].toFixed(2)));
    return `${shown.join(", ")}${episode.numActions > 6 ? ", …" : ""}`.replaceAll("-", "\u2212");
  }
  const value = episode.actions[0][t];
  return episode.actionNames ? `${value}: ${episode.actionNames[value] ?? "unknown"}` : number(value);
}
