// The gradients of one batch before and after BANG, whose eqs. (3) to (6) are computed here.

import { drawChart, powerTicks, SHARES, svgPanel, ticksAt } from "./charts.js";
import { choice, element, explorable, follow, say, slider } from "./controls.js";
import { percentage, shortNumber } from "./words.js";

// --- What is computed

// The factors eta of eqs. (3) and (4); a gradient of zero keeps the factor 1.
function balancing(norms, eps) {
  const largest = Math.max(...norms);
  return norms.map((norm) => {
    const rho = eps * (1 - norm / largest);
    return norm > 0 ? Math.exp(rho * Math.log(largest / norm)) : 1;
  });
}

// All the pictures show: the norms, largest first, and what eq. (6) makes of them.
function balancedBatch(norms, { eps, beta }) {
  const before = [...norms].sort((one, two) => two - one);
  const eta = balancing(before, eps);
  const after = before.map((norm, i) => beta * eta[i] * norm);
  return { before, eta, after, beforeShares: sharesOf(before), afterShares: sharesOf(after) };
}

function sharesOf(lengths) {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  return lengths.map((length) => (total ? length / total : 0));
}

function tenthOf(shares) {
  const count = Math.max(1, Math.round(shares.length / 10));
  const largest = [...shares].sort((one, two) => two - one).slice(0, count);
  return { count, share: largest.reduce((sum, share) => sum + share, 0) };
}

// --- What is said

function largeNumber(value) {
  return value < 10000 ? shortNumber(value) : Math.round(value).toLocaleString("en");
}

function bangSentence({ layer, eps, beta }, { eta, beforeShares, afterShares }) {
  const [plain, balanced] = [beforeShares, afterShares].map(tenthOf);
  const opening = `Layer ${layer} at ε ${shortNumber(eps)} and β ${shortNumber(beta)}:`;
  if (beta === 0) return `${opening} no example has any part in the update.`;
  const largest = plain.count === 1 ? "the largest gradient makes" :
    `the ${plain.count} largest of ${eta.length} gradients make`;
  const most = largeNumber(eta.reduce((high, value) => Math.max(high, value)));
  return `${opening} ${largest} up ${percentage(balanced.share)} of the sum of all lengths, ` +
    `${percentage(plain.share)} in plain training. The largest factor is ${most}.`;
}

// --- What is drawn

function logarithmicAxis(smallest, largest, label) {
  const [low, high] = [Math.floor(Math.log10(smallest)), Math.log10(largest)];
  return { label, low, high, ticks: powerTicks(low, high) };
}

function logarithm(value) {
  return Math.log10(Math.max(value, Number.MIN_VALUE));
}

function lengthView(frame, smallest) {
  const { svg } = svgPanel(frame, "Gradients, share of the largest");
  const y = logarithmicAxis(smallest, 2);
  return ({ before, after }) => {
    const last = before.length;
    const points = (lengths) => lengths.map((length, i) => [i + 1, logarithm(length / before[0])]);
    drawChart(svg, {
      x: rankAxis(last),
      y,
      series: [
        { points: points(before), draw: "dots" },
        { points: points(after), draw: "dots", isNew: true },
      ],
      description: `${last} gradients, from 1 down to ${shortNumber(before.at(-1) / before[0])} ` +
        `of the largest; with BANG down to ${shortNumber(Math.min(...after) / before[0])}.`,
    });
  };
}

function rankAxis(last) {
  const label = "example, largest gradient first";
  return { label, low: 1, high: last, ticks: ticksAt([1, last]) };
}

function sumView(frame) {
  const { svg } = svgPanel(frame, "Share of all lengths, added up");
  return ({ beforeShares, afterShares }) => {
    const last = beforeShares.length;
    const sums = (shares) => {
      let sum = 0;
      return shares.map((share, i) => [i + 1, (sum += share)]);
    };
    const { count, share } = tenthOf(afterShares);
    drawChart(svg, {
      x: rankAxis(last),
      y: SHARES,
      series: [
        { points: sums(beforeShares), draw: "line" },
        { points: sums(afterShares), draw: "line", isNew: true },
      ],
      description: `The largest ${count} make up ${percentage(share)} with BANG, ` +
        `${percentage(tenthOf(beforeShares).share)} in plain training.`,
    });
  };
}

function factorView(frame, smallest) {
  const { svg } = svgPanel(frame, "Factor η of each example");
  const x = logarithmicAxis(smallest, 1, "gradient, share of the largest");
  const y = logarithmicAxis(1, 1 / smallest);
  return ({ before, eta }, { eps }) => {
    const curve = Array.from({ length: 80 }, (_, i) => x.low + (i * (x.high - x.low)) / 79);
    const factors = curve.map((power) => balancing([1, 10 ** power], eps)[1]);
    drawChart(svg, {
      x,
      y,
      series: [
        { points: curve.map((power, i) => [power, logarithm(factors[i])]), draw: "line" },
        {
          points: before.map((norm, i) => [logarithm(norm / before[0]), logarithm(eta[i])]),
          draw: "dots",
          isNew: true,
        },
      ],
      description: `Factors from 1 to ${largeNumber(Math.max(...eta))}.`,
    });
  };
}

// Plain dots and lines are in the colour of the text, those of BANG in the accent colour.
function addLegend(frame) {
  const swatch = (text, style) => {
    const dot = element("span", { ariaHidden: "true" }, "● ");
    Object.assign(dot.style, style);
    return element("span", {}, dot, text);
  };
  const legend = element(
    "div",
    { className: "explorable-title" },
    swatch("plain training", { opacity: 0.5 }),
    swatch("with BANG", { color: "var(--explorable-accent)" }),
  );
  Object.assign(legend.style, { display: "flex", gap: "1.5rem", flexBasis: "100%" });
  legend.style.justifyContent = "center";
  frame.picture.append(legend);
}

// --- Putting it together

// The smallest share that an axis shows; what is below stands at its edge.
function smallestShare(layers) {
  const shares = layers.flatMap(({ norms }) => {
    const largest = Math.max(...norms);
    return norms.filter((norm) => norm > 0).map((norm) => norm / largest);
  });
  return Math.max(1e-12, Math.min(0.1, ...shares));
}

function render({ model, el }) {
  const frame = explorable(model, el, { label: "Gradients balanced by BANG" });
  const layers = model.get("norms");
  const smallest = smallestShare(layers);
  addLegend(frame);
  const views = [lengthView(frame, smallest), factorView(frame, smallest), sumView(frame)];
  const names = layers.map(({ layer }) => layer);
  if (names.length > 1) choice(frame, { name: "layer", label: "layer", options: names });
  slider(frame, { name: "eps", label: "ε", min: 0, max: 1, step: 0.005, format: shortNumber });
  slider(frame, { name: "beta", label: "β", min: 0, max: 2, step: 0.05, format: shortNumber });

  follow(frame, ["layer", "eps", "beta"], (state) => {
    const { norms } = layers.find(({ layer }) => layer === state.layer);
    const batch = balancedBatch(norms, state);
    for (const view of views) view(batch, state);
    say(frame, bangSentence(state, batch));
  });
  return frame.close;
}

export default { render };
