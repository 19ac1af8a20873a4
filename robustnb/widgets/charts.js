// Charts and bars, drawn into an <svg>.

import { panel, svgElement } from "./controls.js";
import { percentage } from "./words.js";

// A panel with an empty <svg>, and its heading.
export function svgPanel(frame, title = "") {
  const svg = svgElement("svg");
  return { svg, heading: panel(frame, title, svg).firstChild };
}

// `description` is the alternative text.
function prepare(svg, width, height, description) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", description);
}

// --- Axes

export function ticksAt(values, format = String) {
  return values.map((value) => ({ value, text: format(value) }));
}

// At most five powers of ten, between two logarithms.
export function powerTicks(low, high) {
  const first = Math.ceil(low);
  const step = Math.max(1, Math.ceil((high - first) / 4));
  const count = Math.floor((high - first) / step) + 1;
  return ticksAt(Array.from({ length: count }, (_, i) => first + i * step), power);
}

function power(exponent) {
  if (Math.abs(exponent) >= 4) return `1e${exponent}`;
  return String(Number((10 ** exponent).toPrecision(1)));
}

export const SHARES = { low: 0, high: 1, ticks: ticksAt([0, 0.5, 1], percentage) };

// --- Charts

const CHART = { width: 280, height: 150, left: 44, right: 12, top: 8, bottom: 38 };
const LOW_CHART = { ...CHART, height: 110 }; // on a phone
const HALF_CHART = { ...LOW_CHART, width: 156, left: 36 }; // there are two of these in a row

export function chartSize(svg, isHalf = false) {
  if (!isInNarrow(svg)) return CHART;
  return isHalf ? HALF_CHART : LOW_CHART;
}

function isInNarrow(svg) {
  return svg.closest(".explorable-narrow") !== null;
}

// Draws series of points. An axis has `low`, `high` and `ticks`, each { value, text }; that of x
// has a `label`, that of y is named by the panel's title. A series has `points` [x, y] and `draw`:
// "line" or "dots", in the accent colour if `isNew`. What lies outside is drawn at the edge. A
// phone has room for two charts side by side if they are `isHalf`.
export function drawChart(svg, { x, y, series, description, isHalf }) {
  const size = chartSize(svg, isHalf);
  const { width, height, left, right, top, bottom } = size;
  const place = {
    x: (value) => left + (width - left - right) * inRange(value, x),
    y: (value) => height - bottom - (height - top - bottom) * inRange(value, y),
  };
  prepare(svg, width, height, description);
  svg.classList.toggle("explorable-half", Boolean(isHalf));
  svg.replaceChildren(
    ...chartAxes(x, y, place, size),
    ...series.map((one) => chartSeries(one, place)),
  );
}

function inRange(value, { low, high }) {
  return Math.min(1, Math.max(0, (value - low) / (high - low)));
}

function chartAxes(x, y, place, { width, height, left, right, bottom }) {
  const lines = y.ticks.map(({ value }) => svgElement("path", {
    d: `M${left} ${place.y(value)}H${width - right}`,
    style: "stroke: var(--explorable-border)",
  }));
  return [
    ...lines,
    ...x.ticks.map(({ value, text }) =>
      chartText(text, place.x(value), height - bottom + 15, "middle")),
    ...y.ticks.map(({ value, text }) => chartText(text, left - 5, place.y(value) + 4, "end")),
    chartText(x.label, (left + width - right) / 2, height - 5, "middle"),
  ];
}

function chartText(text, x, y, anchor) {
  const style = `font-size: 12px; fill: currentColor; text-anchor: ${anchor}`;
  return svgElement("text", { x, y, style }, text);
}

function chartSeries({ points, draw, isNew = false, size = 5 }, place) {
  const at = points.map(([x, y]) => `${place.x(x).toFixed(1)} ${place.y(y).toFixed(1)}`);
  const ink = isNew ? "var(--explorable-accent)" : "currentColor";
  const dots = draw === "dots";
  const d = dots ? at.map((point) => `M${point}h0`).join("") : at.length && `M${at.join("L")}`;
  const stroke = `stroke-width: ${dots ? size : 1.5}; opacity: ${isNew ? 1 : 0.5}`;
  const style = `fill: none; stroke: ${ink}; stroke-linecap: round; ${stroke}`;
  return svgElement("path", { d: d || "", style, class: isNew ? "new" : "old" });
}

// --- Bars

const LETTERS = 16; // of a name at most
const LETTER = 8; // the width of one, at most
const BAR = { left: 38, step: 22, width: 14, height: 104, top: 8 };
const LOW_BAR = { ...BAR, left: 33, height: 44 }; // on a phone, where two stand in a row
const HALF_ROW = 156;

function barSize(svg, count) {
  if (!isInNarrow(svg)) return BAR;
  const step = Math.min(BAR.step, Math.max(12, Math.floor((HALF_ROW - LOW_BAR.left) / count)));
  return { ...LOW_BAR, step, width: Math.round(0.65 * step) };
}

// Draws a bar for each value between 0 and 1. `labels` stand under the bars, `truth` is the index
// whose label is underlined, `dots` are lists of values drawn over the bars, and `outline` is one
// more such list, around them.
export function drawBars(svg, values, { labels, truth, dots = [], outline, description }) {
  const highest = values.indexOf(Math.max(...values));
  const isUpright = most(labels) > 3;
  const room = isUpright ? 12 + LETTER * most(labels.map(shortened)) : 20;
  const size = barSize(svg, values.length);
  const [width, height] = [size.left + values.length * size.step, size.height + size.top + room];
  prepare(svg, width, height, description);
  svg.classList.add("explorable-bars", "explorable-half");
  svg.replaceChildren(
    ...barLine(size, width, 1, "100%"),
    ...barLine(size, width, 0, "0%"),
    ...Array.from(values, (value, i) => bar(size, value, i, i === highest ? "bar highest" : "bar")),
    svgElement("path", { class: "dots", d: dotPath(size, dots) }),
    ...Array.from(outline ?? [], (value, i) => bar(size, value, i, "outline")),
    ...labels.map((text, i) => barLabel(size, text, i, i === highest, i === truth, isUpright)),
  );
}

function barHeight({ top, height }, value) {
  return top + height * (1 - value);
}

function barLine(size, width, value, text) {
  const y = barHeight(size, value);
  return [
    svgElement("line", { x1: size.left, x2: width, y1: y, y2: y }),
    svgElement("text", { class: "scale", x: size.left - 5, y: y + 4 }, text),
  ];
}

function bar(size, value, i, name) {
  const y = barHeight(size, value);
  const height = size.top + size.height - y;
  const x = size.left + i * size.step + (size.step - size.width) / 2;
  return svgElement("rect", { class: name, x, y, width: size.width, height });
}

// Names that are wider than a bar stand upright, read from below.
function barLabel(size, text, i, isHighest, isTruth, isUpright) {
  const name = `${isHighest ? "highest" : ""} ${isTruth ? "truth" : ""}`;
  const [x, y] = [size.left + (i + 0.5) * size.step, size.top + size.height + 16];
  if (!isUpright) return svgElement("text", { class: name, x, y }, text);
  const transform = `translate(${x + 4} ${y - 10}) rotate(-90)`;
  return svgElement(
    "text",
    { class: name, transform, style: "text-anchor: end" },
    shortened(text),
  );
}

function shortened(text) {
  const letters = [...text];
  return letters.length > LETTERS ? `${letters.slice(0, LETTERS - 1).join("")}…` : text;
}

// The number of letters of the longest text.
function most(texts) {
  return Math.max(...texts.map((text) => [...text].length));
}

// All dots are one path, since thousands of elements would be slow; each list has its own place
// across the width of the bars.
function dotPath(size, dots) {
  const { left, step, width } = size;
  const points = dots.flatMap((values, number) => {
    const x = left + (step - width) / 2 + (width * (number + 0.5)) / dots.length;
    return Array.from(values, (value, i) =>
      `M${(x + i * step).toFixed(1)} ${barHeight(size, value).toFixed(1)}h0`);
  });
  return points.join("");
}
