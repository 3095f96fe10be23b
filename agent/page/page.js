// SPDX-License-Identifier: Apache-2.0
// The status page: asks status.json, past.json, events.json and fleet.json again and again, and shows them.
// Whatever comes from there is shown as text: nothing is ever parsed as markup.
"use strict";

const STATUS_MS = 4000, PAST_MS = 20000, EVENTS_MS = 8000, FLEET_MS = 15000;
const MOST_EVENTS = 2000;
const STEPS_KEPT = 720;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

/* Elements, from text only. */
function el(tag, given = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...inside.flat().filter((one) => one !== null && one !== undefined && one !== ""));
  return made;
}
function shape(tag, given, ...inside) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) made.setAttribute(name, String(value));
  made.append(...inside);
  return made;
}
/* A sentence; what stands in it between backticks is a command. */
const rich = (text) => String(text).split("`").map((part, n) => (n % 2 && part ? el("code", {}, part) : part));

/* Puts new content into a place only when it is other content: focus and open details stay. */
const shown = new Map();
function put(place, key, make) {
  if (shown.get(place) === key) return;
  shown.set(place, key);
  const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.name));
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.name : "";
  place.replaceChildren(...make());
  for (const one of place.querySelectorAll("details")) one.open = open.has(one.dataset.name);
  if (focused) [...place.querySelectorAll("[data-name]")].find((one) => one.dataset.name === focused)?.focus();
}

/* Words and numbers. */
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const counted = (n, word) => `${whole.format(n)} ${word}${n === 1 ? "" : "s"}`;
const percent = (x) => `${tenths.format(x * 100)} %`;
const gib = (bytes) => `${tenths.format(bytes / 2 ** 30)} GiB`;
const seconds = (x) => (x < 1 ? `${whole.format(x * 1000)} ms` : `${tenths.format(x)} s`);
const clock = (at, long) =>
  new Date(at * 1000).toLocaleTimeString("en-GB", long ? {} : { hour: "2-digit", minute: "2-digit" });
const day = (at) =>
  new Date(at * 1000).toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const date = (at) => new Date(at * 1000).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" });
const moment = (at) => (day(at) === day(now()) ? clock(at) : `${date(at)}, ${clock(at)}`);
function lasting(s) {
  if (s < 60) return `${Math.max(0, Math.floor(s))} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}
const since = (at) => el("time", { datetime: new Date(at * 1000).toISOString(), "data-since": at, title: `since ${moment(at)}` }, lasting(now() - at));
const value = (x) => (x === null || x === undefined ? "default" : String(x));

/* State. */
let status = null, past = null, events = [], more = false, hours = 3, ahead = 0;
let picked = null;  // the moment that the plots tell of, in seconds; null is now
const now = () => Date.now() / 1000 + ahead;

/* What needs a person. */
function headline() {
  const { needs } = status, services = Object.values(status.services);
  if (needs.length) return ["wrong", needs.length === 1 ? "One thing needs you" : `${needs.length} things need you`];
  const away = services.filter((s) => s.phase !== "serving").map((s) => `${s.name} is ${s.phase}`);
  if (away.length) return ["not yet", `Not serving: ${away.join(", ")}`];
  if (pauses().length) return ["not yet", "All serves, and llmagent is told not to act"];
  if (!services.length) return ["well", "No service is configured"];
  const cards = (status.gpus || []).length;
  return ["well", `All is well: ${counted(services.length, "service")}${cards ? ` and ${counted(cards, "GPU")}` : ""}`];
}
function showVerdict() {
  const [level, text] = headline(), { needs } = status;
  byId("verdict").dataset.level = level;
  put(byId("headline"), text, () => [text]);
  document.title = `${needs.length ? `(${needs.length}) ` : ""}${location.hostname} · llmagent`;
  const list = byId("needs");
  list.hidden = !needs.length;
  put(list, JSON.stringify(needs), () => needs.map((need) => el("li", {}, el("strong", {}, need.what),
    need.to_do ? el("div", { class: "todo" }, el("span", {}, "To do"), el("span", {}, rich(need.to_do))) : null)));
  const silent = status.at_seconds - status.last_decision_seconds, notes = pauses();
  if (silent > 60) notes.push(`llmagent has decided nothing for ${lasting(silent)}: systemctl restart llmagent`);
  byId("paused").hidden = !notes.length;
  put(byId("paused"), notes.join(), () => [notes.join(". ")]);
}
function pauses() {
  if (status.paused) return [pausedText("Everything", status.paused)];
  return Object.values(status.services).filter((s) => s.paused).map((s) => pausedText(s.name, s.paused));
}
function pausedText(name, pause) {
  return `${name} is paused until ${moment(pause.until_seconds)} by ${pause.by}: llmagent watches and tells, and does not act`;
}

/* Services. */
const TONES = { serving: "good", verifying: "good", held: "bad", stopped: "calm" };
function showServices() {
  const all = Object.values(status.services);
  const rates = Object.fromEntries(all.map((s) => [s.name, latest(s.name, "generation_tokens_per_second")]));
  put(byId("services"), JSON.stringify([all, rates]), () =>
    all.length ? all.map((s) => serviceCard(s, rates[s.name])) : [el("p", { class: "quiet" }, "No service is configured: add a [service.NAME] table to /etc/llmagent/agent.toml.")]);
}
function serviceCard(s, rate) {
  return el("article", { class: "card", "aria-labelledby": `s-${s.name}` },
    el("header", {}, el("h3", { id: `s-${s.name}` }, s.name),
      el("span", { class: "badge", "data-tone": TONES[s.phase] || "warn" }, s.phase),
      s.paused ? el("span", { class: "badge", "data-tone": "pause" }, "paused") : null,
      el("span", { class: "quiet" }, "for ", since(s.since_seconds))),
    el("p", { class: "quiet" }, s.running.model || s.asked.model || s.unit, s.url ? ` · ${s.url}` : ""),
    s.phase === "serving" ? figures(s, rate) : el("p", {}, s.reason),
    s.stage ? stageOf(s.stage) : null,
    s.progress ? progressOf(s) : null,
    s.planned_restart ? note("", "Restart", `${s.planned_restart.what}, asked for by ${s.planned_restart.by}`) : null,
    s.drain ? note("", "Drain", `${s.drain.what}, by ${moment(s.drain.due_seconds)} at the latest, asked for by ${s.drain.by}`) : null,
    s.cluster ? note("", "Group", groupText(s.cluster)) : null,
    s.held ? note("bad", "To do", s.held.what_to_do) : null,
    ...Object.entries(s.overrides).map(([name, o]) =>
      note("", "Learned", `${name} ${value(o.asked)} → ${value(o.running)}, because ${o.why}`)),
    s.rolled_back ? note("warn", "Rolled back", `the last known good settings run, because ${s.rolled_back.why}`) : null,
    s.hang_detection_off ? note("warn", "Hang detection is off", s.hang_detection_off) : null,
    s.pending_restart.length ? note("", "At the next start", s.pending_restart.join(", ")) : null,
    s.failure ? lastCause(s) : null,
    s.verification.length ? proof(s) : null);
}
function groupText(group) {
  const role = group.head ? "head" : `member ${group.member}`;
  const peers = group.peers.map((p) => `${p.host || p.address} ${p.answers ? p.stance : "does not answer"}${p.held_back ? ` (slow: ${p.held_back})` : ""}`);
  return `${role} of ${group.hosts} hosts, ${group.stance} in generation ${group.generation}; ${peers.join(", ")}`;
}
function figures(s, rate) {
  const rows = [];
  if (rate !== null) rows.push(["Tokens/s", whole.format(rate)]);
  if (s.api) {
    rows.push(["Running", whole.format(s.api.running)], ["Waiting", whole.format(s.api.waiting)]);
    if (s.api.kv_cache_usage !== null) rows.push(["KV cache", percent(s.api.kv_cache_usage)]);
  }
  if (!rows.length) return el("p", {}, s.reason);
  return el("dl", { class: "figures" }, rows.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
}
function stageOf(stage) {
  const usual = stage.usual_seconds === null ? "" : `, usually ${lasting(stage.usual_seconds)}`;
  return el("p", { class: "quiet" }, `${stage.doing}, for `, since(stage.since_seconds), usual);
}
function progressOf(s) {
  const p = s.progress, known = typeof p.done === "number";
  const label = `${p.what}${known ? ` ${percent(p.done)}` : ""}${p.detail ? `: ${p.detail}` : ""}`;
  return el("div", {}, el("p", {}, label), el("progress", { max: 1, value: known ? p.done : null, "aria-label": label }));
}
function note(tone, title, text) {
  return el("p", { class: "note", "data-tone": tone }, el("b", {}, title), ": ", rich(text));
}
function lastCause(s) {
  const f = s.failure;
  return el("div", {}, el("p", { class: "note", "data-tone": s.phase === "held" ? "bad" : "" },
    el("b", {}, "Last cause"), `: ${f.class}${f.at_seconds ? `, ${moment(f.at_seconds)}` : ""}${f.remedy ? ` – ${f.remedy}` : ""}`),
    f.evidence.length ? el("details", { "data-name": `why-${s.name}` }, el("summary", { "data-name": `w-${s.name}` }, "Evidence"),
      el("pre", { tabindex: 0, "aria-label": `Evidence of ${f.class}` }, el("code", {}, f.evidence.join("\n")))) : null);
}
const VERDICTS = { proven: "good", contradicted: "bad", unknown: "warn" };
function proof(s) {
  const rank = ["contradicted", "unknown", "proven"];
  const rows = [...s.verification].sort((a, b) => rank.indexOf(a.verdict) - rank.indexOf(b.verdict));
  const parts = [...rank].reverse().map((verdict) => [rows.filter((row) => row.verdict === verdict).length, verdict]);
  const summary = parts.filter(([n]) => n).map(([n, verdict]) => `${n} ${verdict}`).join(", ");
  return el("details", { "data-name": `proof-${s.name}` }, el("summary", { "data-name": `p-${s.name}` }, `Asked against got: ${summary}`),
    el("ul", { class: "proofs" }, rows.map((row) => el("li", {},
      el("span", { class: "verdict-word", "data-tone": VERDICTS[row.verdict] }, row.verdict),
      el("span", {}, el("b", {}, row.item), `: asked ${value(row.asked)}, got ${value(row.got)}`,
        row.note ? el("span", { class: "quiet" }, ` (${row.note})`) : null)))));
}

/* GPUs. */
const REASONS = {
  hw_slowdown: "slowed by the hardware", sw_thermal_slowdown: "slowed by heat", hw_thermal_slowdown: "slowed by heat (hardware)",
  hw_power_brake_slowdown: "slowed by the power supply", sw_power_cap: "at its power limit", reliability: "limited for reliability",
};
function showGpus() {
  const gpus = status.gpus || [];
  byId("gpus-section").hidden = !gpus.length;
  put(byId("gpus"), JSON.stringify([gpus, status.gpus_stale]), () => gpus.map(gpuRow));
}
function gpuRow(gpu) {
  // What is known of a card that is lost, or of an hour ago, is not shown as that of now.
  if (gpu.lost || status.gpus_stale) gpu = { ...gpu, memory: null, utilization_ratio: null, temperature_celsius: null, memory_temperature_celsius: null, power_watts: null, power_limits: {}, clocks_hertz: {} };
  const dash = "–", m = gpu.memory, limit = gpu.power_limits.enforced_watts ?? null;
  const cell = (label, text, more, kind = "number") =>
    el("td", { role: "cell", class: kind, "data-label": label }, text, more ? el("small", {}, more) : null);
  return el("tr", { role: "row" },
    el("th", { role: "rowheader", scope: "row" }, el("b", {}, `GPU ${gpu.index}`), el("small", {}, gpu.name,
      gpu.services.length ? ` · ${gpu.services.join(", ")}` : "")),
    el("td", { role: "cell", class: "memory", "data-label": "Memory" }, m ? `${gib(m.used_bytes)} of ${gib(m.total_bytes)}` : dash, m ? bar(m.used_bytes / m.total_bytes) : null),
    cell("Busy", gpu.utilization_ratio === null ? dash : percent(gpu.utilization_ratio)),
    cell("Temperature", gpu.temperature_celsius === null ? dash : `${whole.format(gpu.temperature_celsius)} °C`,
      gpu.memory_temperature_celsius === null ? "" : `memory ${whole.format(gpu.memory_temperature_celsius)} °C`),
    cell("Power", gpu.power_watts === null ? dash : `${whole.format(gpu.power_watts)} W`, limit === null ? "" : `limit ${whole.format(limit)} W`),
    cell("SM clock", gpu.clocks_hertz.sm ? `${hundredths.format(gpu.clocks_hertz.sm / 1e9)} GHz` : dash),
    el("td", { role: "cell", class: "state", "data-label": "State" }, gpuState(gpu)));
}
function bar(share) {
  const inside = el("i");
  inside.style.width = `${Math.min(100, Math.max(0, share * 100))}%`;
  return el("span", { class: "bar", "aria-hidden": "true" }, inside);
}
function gpuState(gpu) {
  if (gpu.lost) return el("span", { class: "badge", "data-tone": "bad" }, "lost");
  if (status.gpus_stale) return el("span", { class: "badge", "data-tone": "warn" }, "not read now");
  if (gpu.ailment) return [el("span", { class: "badge", "data-tone": "bad" }, "ailing"), el("small", {}, gpu.ailment.why)];
  const why = (gpu.clock_events || []).filter((name) => REASONS[name]);
  const held = why.filter((name) => name !== "sw_power_cap" && name !== "reliability");
  const words = why.map((name) => REASONS[name]).join(", ");
  if (held.length) return [el("span", { class: "badge", "data-tone": "warn" }, "throttled"), el("small", {}, words)];
  return [el("span", { class: "badge", "data-tone": "good" }, "well"), words ? el("small", {}, words) : null];
}

/* Other hosts, in the order in which they came: what needs a person first. */
const LEVELS = { wrong: ["bad", "needs you"], away: ["warn", "no answer"], "not yet": ["warn", "not serving"], well: ["good", "well"] };
function showFleet(came) {
  byId("fleet-section").hidden = byId("to-fleet").hidden = !came.hosts.length;
  put(byId("fleet-summary"), came.summary, () => [came.summary]);
  put(byId("fleet"), JSON.stringify(came.hosts), () => came.hosts.map(hostRow));
}
function hostRow(host) {
  const [tone, word] = LEVELS[host.level] || ["calm", host.level];
  return el("li", {}, el("span", { class: "badge", "data-tone": tone }, word),
    el("div", {}, el("a", { href: /^https?:\/\//.test(host.address) ? `${host.address}/` : null, rel: "noreferrer", "data-name": `host-${host.name}` }, host.name),
      el("p", {}, rich(host.sentence)),
      host.more.length ? el("details", { "data-name": `more-${host.name}` }, el("summary", { "data-name": `m-${host.name}` }, "More"),
        el("ul", {}, host.more.map((line) => el("li", {}, rich(line))))) : null));
}

/* The last hours. */
const PLOTS = [
  ["services", "generation_tokens_per_second", "Tokens a second", whole.format, 10],
  ["services", "first_token_seconds", "Time to first token, mean", seconds, 0.1],
  ["services", "requests_waiting", "Requests waiting, most", whole.format, 4],
  ["services", "kv_cache_usage_ratio", "KV cache in use", percent, 1],
  ["gpus", "temperature_celsius", "Temperature", (x) => `${whole.format(x)} °C`, 100],
  ["gpus", "power_watts", "Power", (x) => `${whole.format(x)} W`, 100],
  ["gpus", "sm_clock_hertz", "SM clock", (x) => `${hundredths.format(x / 1e9)} GHz`, 2e9],
  ["gpus", "throttled_ratio", "Slowed by heat or power supply", percent, 1],
];
function takePast(came) {
  if (past && came.first_seconds > past.first_seconds && came.step_seconds === past.step_seconds) {
    const keep = Math.round((came.first_seconds - past.first_seconds) / came.step_seconds);
    if (keep <= past.steps) came = joined(past, came, keep);
  }
  past = came;
}
function joined(old, fresh, keep) {
  const steps = keep + fresh.steps, cut = Math.max(0, steps - STEPS_KEPT);
  const none = (n) => Array(n).fill(null);
  const join = (before, after) => {
    const made = {};
    for (const name of new Set([...Object.keys(before || {}), ...Object.keys(after)])) {
      if (name === "index") { made.index = after.index; continue; }
      made[name] = [...((before || {})[name] || none(old.steps)).slice(0, keep), ...(after[name] || none(fresh.steps))].slice(cut);
    }
    return made;
  };
  const each = (kind) => Object.fromEntries(Object.keys(fresh[kind]).map((name) => [name, join(old[kind][name], fresh[kind][name])]));
  return { ...fresh, first_seconds: old.first_seconds + cut * fresh.step_seconds, steps: steps - cut, services: each("services"), gpus: each("gpus") };
}
function latest(name, column) {
  const row = past?.services[name]?.[column];
  return row ? row[row.length - 1] ?? row[row.length - 2] ?? null : null;
}
function view() {
  const wanted = Math.round(hours * 3600 / past.step_seconds);
  const end = past.first_seconds + (past.steps - 1) * past.step_seconds;
  return { steps: wanted, begin: end - (wanted - 1) * past.step_seconds, end };
}
function linesOf(kind, column) {
  const { steps } = view();
  const things = Object.entries(past[kind]).filter(([, rows]) => rows[column]);
  if (kind === "gpus") things.sort((a, b) => a[1].index - b[1].index);
  return things.map(([name, rows]) => {
    const missing = Math.max(0, steps - past.steps);
    return { name: kind === "gpus" ? `GPU ${rows.index}` : name, values: [...Array(missing).fill(null), ...rows[column].slice(-(steps - missing))] };
  });
}
function tops(least, most, format) {
  const top = Math.max(least, most), rough = top / 3, unit = 10 ** Math.floor(Math.log10(rough));
  const step = (format === whole.format ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10]).map((n) => n * unit).find((n) => n >= rough);
  return [step, Math.ceil(top / step - 1e-9) * step];
}
function showPlots() {
  byId("past-section").hidden = !past || !Object.keys({ ...past.services, ...past.gpus }).length;
  if (!past) return;
  const { steps } = view(), slider = byId("moment");
  slider.max = steps - 1;
  if (picked === null) slider.value = steps - 1;
  else slider.value = Math.round((picked - view().begin) / past.step_seconds);
  const usable = PLOTS.map((plot) => [plot, linesOf(plot[0], plot[1])]).filter(([, lines]) => lines.length);
  const place = byId("plots"), width = Math.max(220, Math.floor(place.clientWidth / Math.max(1, columns(place))) - 50);
  put(place, JSON.stringify([hours, width, view().end, usable.map(([plot]) => plot[2]), past.steps, spans(), marks()]), () =>
    usable.map(([plot, lines]) => figure(plot, lines, width)));
  pointAt();
}
const columns = (place) => getComputedStyle(place).gridTemplateColumns.split(" ").length;
function figure([kind, column, title, format, least], lines, width) {
  const { steps, begin, end } = view(), left = 56, right = 8, height = 150, bottom = 22, top = 6;
  const known = lines.flatMap((line) => line.values).filter((x) => x !== null);
  const [step, most] = tops(least, Math.max(0, ...known), format);
  const x = (n) => left + (n / Math.max(1, steps - 1)) * (width - left - right);
  const y = (v) => height - bottom - (v / most) * (height - bottom - top);
  const xAt = (at) => x(Math.min(steps - 1, Math.max(0, (at - begin) / past.step_seconds)));
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. ${lines.map((line) => told(line, format)).join("; ")}` });
  for (let v = 0; v <= most + step / 2; v += step) {
    svg.append(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }),
      shape("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, format(v)));
  }
  const every = hours >= 12 ? 10800 : hours >= 3 ? 3600 : 900, zone = new Date(begin * 1000).getTimezoneOffset() * 60;
  for (let at = Math.ceil((begin - zone) / every) * every + zone; at <= end; at += every) {
    if (x(steps - 1) - xAt(at) < 12 || xAt(at) - left < 12) continue;
    svg.append(shape("text", { x: xAt(at), y: height - 5, "text-anchor": "middle" }, clock(at)));
  }
  if (kind === "services") for (const [from, to] of spans()) {
    if (to > begin) svg.append(shape("rect", { class: "away", x: xAt(from), width: Math.max(1.5, xAt(to) - xAt(from)), y: top, height: height - bottom - top }));
  }
  for (const event of marks()) svg.append(shape("line", { class: "mark", x1: xAt(event.at_seconds), x2: xAt(event.at_seconds), y1: top, y2: height - bottom }));
  lines.forEach((line, n) => svg.append(shape("path", { class: `path s${n % 8}`, d: pathOf(line.values, x, y), ...(n >= 8 ? { "stroke-dasharray": "5 3" } : {}) })));
  svg.append(shape("line", { class: "at", y1: top, y2: height - bottom, visibility: "hidden" }));
  const legend = el("ul", { class: "legend" }, lines.map((line, n) => el("li", {}, el("i", { class: `s${n % 8}`, "aria-hidden": "true" }), el("span", {}, line.name), el("b"))));
  const made = el("figure", { class: "plot" }, el("figcaption", {}, el("h3", {}, title)), svg, legend);
  made.pointTo = (n) => {
    const at = svg.querySelector(".at");
    at.setAttribute("visibility", picked === null ? "hidden" : "visible");
    at.setAttribute("x1", x(n));
    at.setAttribute("x2", x(n));
    lines.forEach((line, k) => {
      const here = picked === null ? lastKnown(line.values) : line.values[n];
      legend.children[k].lastChild.textContent = here === null || here === undefined ? "–" : format(here);
    });
  };
  const follow = (event) => {
    const box = svg.getBoundingClientRect(), share = ((event.clientX - box.left) / box.width * width - left) / (width - left - right);
    pick(Math.round(Math.min(1, Math.max(0, share)) * (steps - 1)));
  };
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") pick(null); });
  return made;
}
const lastKnown = (values) => values[values.length - 1] ?? values[values.length - 2] ?? null;
function told(line, format) {
  const known = line.values.filter((v) => v !== null);
  if (!known.length) return `${line.name}: not known`;
  return `${line.name}: lowest ${format(Math.min(...known))}, highest ${format(Math.max(...known))}, last ${format(known[known.length - 1])}`;
}
function pathOf(values, x, y) {
  let text = "", pen = false;
  values.forEach((v, n) => {
    if (v === null) { pen = false; return; }
    text += `${pen ? "L" : "M"}${x(n).toFixed(1)} ${y(v).toFixed(1)}`;
    if (!pen && (values[n + 1] ?? null) === null) text += "h.1";
    pen = true;
  });
  return text;
}
/* When services were away, and the warnings of the time that is shown. */
function spans() {
  const found = [], began = new Map();
  for (const event of events) {
    if (event.edge === "down" && !began.has(event.service)) began.set(event.service, event.at_seconds);
    if (event.edge === "over" && began.has(event.service)) {
      found.push([began.get(event.service), event.at_seconds]);
      began.delete(event.service);
    }
  }
  return [...found, ...[...began.values()].map((at) => [at, now()])].filter(([, to]) => to >= view().begin);
}
const marks = () => events.filter((event) => event.loud && event.at_seconds >= view().begin && event.at_seconds <= view().end + past.step_seconds).slice(-60);
function pick(n) {
  picked = n === null || n >= view().steps - 1 ? null : view().begin + n * past.step_seconds;
  byId("moment").value = n === null ? view().steps - 1 : n;
  pointAt();
}
function pointAt() {
  const { begin, steps } = view(), n = picked === null ? steps - 1 : Math.round((picked - begin) / past.step_seconds);
  for (const plot of byId("plots").children) plot.pointTo(n);
  let text = "now";
  if (picked !== null) {
    const near = events.filter((event) => event.loud && Math.abs(event.at_seconds - picked - past.step_seconds / 2) <= Math.max(past.step_seconds, hours * 20));
    text = [clock(picked), ...near.slice(0, 2).map((event) => `${event.service || "llmagent"}: ${event.message}`), near.length > 2 ? `and ${near.length - 2} more` : ""].filter(Boolean).join(" · ");
  }
  byId("moment-text").textContent = text;
  byId("moment").setAttribute("aria-valuetext", text);
}

/* The history. */
function showHistory(filtered) {
  const services = [...new Set([...Object.keys(status?.services || {}), ...events.map((event) => event.service)].filter(Boolean))].sort();
  const select = byId("by-service"), chosen = select.value;
  put(select, services.join("\n"), () => [["", "all"], ["llmagent", "llmagent itself"], ...services.map((name) => [`=${name}`, name])].map(([v, text]) => el("option", { value: v }, text)));
  select.value = chosen;
  const kind = byId("by-kind").value, text = byId("by-text").value.trim().toLowerCase();
  const found = events.filter((event) =>
    (!chosen || (chosen === "llmagent" ? !event.service : `=${event.service}` === chosen)) &&
    (!kind || (kind === "loud" ? event.loud : event.edge)) &&
    (!text || `${event.message} ${event.kind} ${event.service}`.toLowerCase().includes(text))).reverse();
  const short = found.slice(0, 400);
  // A screen reader is told what a filter leaves, not every event that comes.
  byId("count").setAttribute("aria-live", filtered ? "polite" : "off");
  byId("count").textContent = events.length ? `${counted(found.length, "event")} of the ${whole.format(events.length)} newest${found.length > short.length ? `, the newest ${short.length} are shown` : ""}` : "Nothing has happened yet.";
  byId("older").hidden = !more || events.length >= MOST_EVENTS;
  put(byId("history"), JSON.stringify(short.map((event) => event.id)), () => {
    const rows = [];
    let last = "";
    for (const event of short) {
      if (day(event.at_seconds) !== last) rows.push(el("li", { class: "day" }, (last = day(event.at_seconds))));
      rows.push(el("li", { "data-loud": event.loud, "data-edge": event.edge || null },
        el("time", { datetime: new Date(event.at_seconds * 1000).toISOString() }, clock(event.at_seconds, true)),
        el("span", { class: "who" }, event.service || "llmagent"),
        el("span", { class: "what" }, event.message, el("span", { class: "kind" }, event.kind))));
    }
    return rows;
  });
}
async function askEvents() {
  const last = events[events.length - 1];
  const came = await ask(last ? `events.json?after=${last.id}` : "events.json");
  if (!last) more = came.more;
  if (came.events.length) events = [...events, ...came.events].slice(-MOST_EVENTS);
}
async function askOlder() {
  const came = await ask(events.length ? `events.json?before=${events[0].id}` : "events.json");
  events = [...came.events, ...events];
  more = came.more;
  showHistory();
  if (past) showPlots();
}

/* Asking, again and again, while somebody looks. */
async function ask(path) {
  const answer = await fetch(path, { cache: "no-cache", signal: AbortSignal.timeout(10000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  return answer.json();
}
let lost = "";
function tell(state, text) {
  const live = byId("live");
  live.dataset.state = state;
  document.body.toggleAttribute("data-stale", state === "lost");
  if (live.textContent !== text) live.textContent = text;
}
async function askStatus() {
  try {
    status = await ask("status.json");
    ahead = status.at_seconds - Date.now() / 1000;
    lost = "";
    tell("live", "live");
    showVerdict();
    showServices();
    showGpus();
    byId("version").textContent = `llmagent ${status.version}`;
  } catch (error) {
    lost ||= clock(Date.now() / 1000, true);
    tell("lost", `no answer since ${lost}`);
    console.warn(error);
  }
  tick();
}
function tick() {
  for (const one of document.querySelectorAll("time[data-since]")) {
    const text = lasting(now() - Number(one.dataset.since));
    if (one.textContent !== text) one.textContent = text;
  }
}
async function askPast() {
  const from = past ? past.first_seconds + (past.steps - 2) * past.step_seconds : 0;
  takePast(await ask(from > 0 ? `past.json?since=${Math.floor(from)}` : "past.json"));
  showPlots();
  if (status) showServices();
}
let fleetless = false;  // nobody is asked again about a fleet that there is not
async function askFleet() {
  if (fleetless) return;
  try {
    const came = await ask("fleet.json");
    fleetless = !came.hosts.length;
    showFleet(came);
  } catch (error) {
    put(byId("fleet-summary"), String(error), () => ["The other hosts are not known at present."]);
    put(byId("fleet"), "", () => []);
    throw error;
  }
}
async function again(wait, work) {
  for (;;) {
    if (!document.hidden) {
      try { await work(); } catch (error) { console.warn(error); }
    }
    await new Promise((done) => {
      const timer = setTimeout(done, wait);
      document.addEventListener("visibilitychange", () => { clearTimeout(timer); done(); }, { once: true });
    });
  }
}

byId("host").textContent = location.hostname;
byId("zone").textContent = `Times are those of this device (${Intl.DateTimeFormat().resolvedOptions().timeZone}).`;
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("input", () => showHistory(true));
byId("older").addEventListener("click", () => askOlder().catch(console.warn));
byId("range").addEventListener("change", (event) => { hours = Number(event.target.value); picked = null; showPlots(); });
byId("moment").addEventListener("input", (event) => pick(Number(event.target.value)));
new ResizeObserver(() => { if (past) showPlots(); }).observe(byId("plots"));
again(STATUS_MS, askStatus);
again(EVENTS_MS, async () => {
  try {
    await askEvents();
  } catch (error) {
    if (!events.length) byId("count").textContent = "The history cannot be read at present.";
    throw error;
  }
  showHistory();
  if (past) showPlots();
});
again(PAST_MS, askPast);
again(FLEET_MS, askFleet);
