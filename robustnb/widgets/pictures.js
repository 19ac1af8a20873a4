// What explorables of images share: the images, words for numbers, charts and tiles.

// --- Images

function readPictures(model) {
  const spec = model.get("pictures");
  const [count, ...shape] = spec.shape;
  const pixels = decodeTensor(spec, model.get("blobs"));
  const size = product(shape);
  const images = Array.from({ length: count }, (_, i) => pixels.subarray(i * size, (i + 1) * size));
  return { images, shape, labels: model.get("labels"), classes: model.get("classes") };
}

// Chooses one of the first `count` images.
function imageChoice(frame, { images, shape, labels, classes }, count) {
  pictureChoice(frame, {
    name: "image",
    label: "image",
    pictures: images.slice(0, count),
    shape,
    labels: labels.slice(0, count).map((label, i) => `image ${i + 1}: ${classes[label]}`),
  });
}

// Draws anew: the seed is part of the address.
function seedButton(frame, label) {
  const { model } = frame;
  const press = () => {
    model.set("seed", (model.get("seed") + 1) % 2 ** 32);
    model.save_changes();
  };
  return button(frame, { name: "seed", label, press });
}

// --- Words

function percentage(share) {
  return share > 0.995 && share < 1 ? ">99%" : `${Math.round(100 * share)}%`;
}

function shortNumber(value) {
  return String(Number(value.toPrecision(3)));
}

// How often each class had the largest logit: "7 in 64 of 100 draws, 1 in 36".
function countedAnswers(samples, classes) {
  const counts = new Map();
  for (const logits of samples) {
    const top = largestIndex(logits);
    counts.set(top, (counts.get(top) ?? 0) + 1);
  }
  const [first, ...others] = [...counts].sort((one, two) => two[1] - one[1]);
  const name = classes[first[0]];
  if (samples.length === 1) return `${name} (${percentage(softmax(samples[0])[first[0]])})`;
  if (others.length === 0) return `${name} in all ${samples.length} draws`;
  const rest = others.map(([other, count]) => `, ${classes[other]} in ${count}`).join("");
  return `${name} in ${first[1]} of ${samples.length} draws${rest}`;
}

// --- Answers over many draws

function drawsView(frame, classes) {
  const svg = svgElement("svg");
  const heading = panel(frame, "", svg).firstChild;
  return ({ samples, truth }) => {
    const isMany = samples.length > 1;
    heading.textContent = isMany ? "Answers: bar is mean, dots are draws" : "Answer";
    const dots = isMany ? samples.map(softmax) : [];
    const values = Array.from(meanProbabilities(samples));
    const description = `The answer is ${countedAnswers(samples, classes)}.`;
    drawBars(svg, values, { labels: classes, truth, dots, description });
  };
}

// --- Tiles: a small map for each channel, `group` of them stacked to a block

const TILE_INK = [213, 94, 0]; // seen on white and on black
const FAINT = 0.12;

// `shares` between 0 and 1 say how strong the ink is, place by place.
function drawTiles(canvas, shares, shape, group = 1) {
  const [channels, height = 1, width = 1] = shape;
  const gap = group * height * width > 1 ? 1 : 0;
  const step = { x: width + gap, y: group * height + gap };
  const columns = tileColumns(channels / group, step);
  const rows = Math.ceil(channels / group / columns);
  Object.assign(canvas, { width: columns * step.x - gap, height: rows * step.y - gap });
  const image = new ImageData(canvas.width, canvas.height);
  shares.forEach((share, place) => {
    const channel = Math.floor(place / (height * width));
    const block = Math.floor(channel / group);
    const inBlock = (channel % group) * height * width + (place % (height * width));
    const x = (block % columns) * step.x + (inBlock % width);
    const y = Math.floor(block / columns) * step.y + Math.floor(inBlock / width);
    const ink = 255 * (FAINT + (1 - FAINT) * Math.min(1, share));
    image.data.set([...TILE_INK, ink], 4 * (y * canvas.width + x));
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// Wider than high, and without a gap in the last row if the number of blocks allows it.
function tileColumns(blocks, step) {
  const ideal = Math.sqrt((1.6 * blocks * step.y) / step.x);
  const off = (columns) => Math.abs(Math.log(columns / ideal));
  const even = Array.from({ length: blocks }, (_, i) => i + 1)
    .filter((columns) => blocks % columns === 0)
    .reduce((best, columns) => (off(columns) < off(best) ? columns : best));
  return off(even) < 0.5 ? even : Math.min(blocks, Math.ceil(ideal));
}

function tileCanvas() {
  const canvas = element("canvas", { role: "img" });
  Object.assign(canvas.style, { width: "13rem", maxWidth: "100%", height: "auto" });
  return canvas;
}

// --- Charts

const CHART = { width: 280, height: 150, left: 44, right: 12, top: 8, bottom: 38 };

// Draws series of points into an <svg>. An axis has `low`, `high` and `ticks`, each
// { value, text }; that of x has a `label`, that of y is named by the panel's title. A series has
// `points` [x, y] and `draw`: "line" or "dots", in the accent colour if `isNew`. What lies outside
// is drawn at the edge.
function drawChart(svg, { x, y, series, description }) {
  const { width, height, left, right, top, bottom } = CHART;
  const place = {
    x: (value) => left + (width - left - right) * inRange(value, x),
    y: (value) => height - bottom - (height - top - bottom) * inRange(value, y),
  };
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", description);
  svg.replaceChildren(
    ...chartAxes(x, y, place),
    ...series.map((one) => chartSeries(one, place)),
  );
}

function inRange(value, { low, high }) {
  return Math.min(1, Math.max(0, (value - low) / (high - low)));
}

function chartAxes(x, y, place) {
  const { width, height, left, right, bottom } = CHART;
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
