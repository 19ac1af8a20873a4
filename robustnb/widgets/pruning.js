// A Bayesian network without its noisiest weights, counted and tested in the page.

import { accuracySteps, accuracyView, missingSteps } from "./accuracy.js";
import { inBackground } from "./background.js";
import { chartSize, drawChart, powerTicks, SHARES, svgPanel, ticksAt } from "./charts.js";
import {
  choice,
  explorable,
  follow,
  reserve,
  say,
  slider,
  svgElement,
} from "./controls.js";
import {
  decodeTensor,
  forward,
  LAYERS,
  loadNetwork,
  meanProbabilities,
  randomGenerator,
  sampleLogits,
  softplusSquared,
} from "./network.js";
import { networksChoice, withChosenNetworks } from "./network_sets.js";
import { readPictures } from "./pictures.js";
import { percentage, shortNumber } from "./words.js";

// --- What is removed; see robustnb/pruning.py

// |mu| / sigma of every weight of a layer, in double precision.
function signalToNoise(mu, rho) {
  const ratios = new Float64Array(mu.length);
  for (let i = 0; i < mu.length; i++) {
    const ratio = Math.abs(mu[i]) / Math.sqrt(softplusSquared(rho[i]));
    ratios[i] = Number.isNaN(ratio) ? 0 : ratio; // 0 / 0: neither signal nor noise
  }
  return ratios;
}

// The means and rhos of all Gaussian layers, and their ratios, also from the least to the greatest.
function readWeights({ layers }, blobs) {
  const read = ({ mu, rho }) => ({ mu: decodeTensor(mu, blobs), rho: decodeTensor(rho, blobs) });
  const gaussian = layers.map((layer) => (layer.kind === "gaussian weights" ? read(layer) : null));
  const parts = gaussian.filter(Boolean).map(({ mu, rho }) => signalToNoise(mu, rho));
  const ratios = new Float64Array(parts.reduce((total, part) => total + part.length, 0));
  let start = 0;
  for (const part of parts) {
    ratios.set(part, start);
    start += part.length;
  }
  return { gaussian, ratios, sorted: ratios.toSorted() };
}

// The places of the weights in the order in which they go.
function removalOrder({ ratios }) {
  const order = Uint32Array.from(ratios, (_, i) => i);
  return order.sort((one, two) => ratios[one] - ratios[two]);
}

// As Python rounds: a half goes to the even neighbour.
function roundedHalfEven(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

function numRemoved(rate, { ratios }) {
  return roundedHalfEven(rate * ratios.length);
}

// Removed weights are 0 and without noise; the layers that draw nothing stay the network's own.
function prunedNetwork({ network, description: { layers }, weights, order }, rate) {
  const removed = new Uint8Array(weights.ratios.length);
  for (const place of order.subarray(0, numRemoved(rate, weights))) removed[place] = 1;
  let start = 0;
  const pruned = network.layers.map((layer, i) => {
    if (!weights.gaussian[i]) return layer;
    const { mu, rho } = weights.gaussian[i];
    const flags = removed.subarray(start, (start += mu.length));
    const tensors = new Map([
      [layers[i].mu, mu.map((value, j) => (flags[j] ? 0 : value))],
      [layers[i].rho, rho.map((value, j) => (flags[j] ? -Infinity : value))],
    ]);
    const inputs = i === 0 ? network.input : network.layers[i - 1].shape;
    return LAYERS[layers[i].kind](layers[i], inputs, (spec) => tensors.get(spec));
  });
  return { ...network, layers: pruned };
}

// --- What is left

// The answers of the mean weights, or the mean of `count` draws.
function answers(network, count) {
  const random = randomGenerator(0);
  return (image) => count
    ? meanProbabilities(sampleLogits(network, image, count, random))
    : forward(network, image).logits;
}

// First the accuracy at this rate, then those of the slider's other rates, each computed once.
function* pruningSteps({ rate, num_samples: count }, explorer, show) {
  const known = knownAccuracies(explorer, count);
  const showNow = () => show(known);
  if (known.has(rate)) showNow();
  yield* missingSteps(known, [rate, ...explorer.rates], (each) =>
    accuracySteps(explorer, answers(prunedNetwork(explorer, each), count)), showNow);
}

const pruneInBackground = inBackground({
  traits: ["network", "rates", "pictures", "labels", "classes", "blobs"],
  read: (model) => {
    const explorer = readPruningExplorer(model);
    const network = loadNetwork(explorer.description, model.get("blobs"));
    return { ...explorer, network, order: removalOrder(explorer.weights) };
  },
  steps: pruningSteps,
});

function knownAccuracies({ accuracies }, count) {
  if (!accuracies.has(count)) accuracies.set(count, new Map());
  return accuracies.get(count);
}

// --- What is said

function grouped(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

function cutRatio(rate, weights) {
  const count = numRemoved(rate, weights);
  return count === 0 ? 0 : weights.sorted[count - 1];
}

function answerer(count) {
  return count ? `the mean of ${count} draws is` : "the mean weights are";
}

function pruningSentence({ rate, num_samples: count }, explorer) {
  const { weights, images } = explorer;
  const total = weights.ratios.length;
  const removed = numRemoved(rate, weights);
  const known = knownAccuracies(explorer, count);
  const isCut = removed > 0 && removed < total;
  const cut = isCut ? `, all of ${RATIO} up to ${shortNumber(cutRatio(rate, weights))}` : "";
  const whole = rate && known.has(0) ? ` (unpruned: ${percentage(known.get(0))})` : "";
  return (
    `${grouped(removed)} of ${grouped(total)} weights removed${cut}: ${answerer(count)} ` +
    `right on ${percentage(known.get(rate))} of ${images.length} images${whole}.`
  );
}

function longestPruningSentence(explorer, count) {
  const accuracies = new Map([[count, new Map([0, 0.5].map((rate) => [rate, 0.999]))]]);
  return pruningSentence({ rate: 0.5, num_samples: count }, { ...explorer, accuracies });
}

// --- What is drawn

const BINS = 56;
const RATIO = "|μ|/σ".split("").join("\u2060"); // never broken at the end of a line

// Counts the logarithms of the ratios, those of 0 left out; a few at the edges share a bin.
function binnedRatios({ sorted: all }) {
  const sorted = all.filter((ratio) => ratio > 0);
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))] ?? 1;
  const low = Math.log10(Math.max(at(0.005), 1e-4));
  const high = Math.max(Math.log10(Math.min(at(0.9995), 1e6)), low + 0.1);
  const counts = new Array(BINS).fill(0);
  for (const ratio of sorted) {
    const place = ((Math.log10(ratio) - low) / (high - low)) * BINS;
    counts[Math.min(BINS - 1, Math.max(0, Math.floor(place)))] += 1;
  }
  return { low, high, counts, most: Math.max(...counts) };
}

// The bins left of the cut are removed; the cut itself goes through one of them.
function ratioView(frame, { weights }) {
  const { svg } = svgPanel(frame, `Weights by ${RATIO}, the removed ones faint`);
  svg.classList.add("explorable-bars");
  const { low, high, counts, most } = binnedRatios(weights);
  const x = { label: RATIO, low, high, ticks: powerTicks(low, high) };
  const y = { low: 0, high: most, ticks: ticksAt([0, most], grouped) };
  return (rate) => {
    const cut = edgeOfCut(rate, weights, { low, high });
    const line = { points: [[cut, 0], [cut, most]], draw: "line", isNew: true };
    const description = `A histogram of |μ|/σ; ${percentage(rate)} lie left of the cut.`;
    drawChart(svg, { x, y, series: [line], description });
    svg.prepend(...binRectangles(chartSize(svg), counts, most, (cut - low) / (high - low)));
  };
}

function edgeOfCut(rate, weights, { low, high }) {
  const removed = numRemoved(rate, weights);
  if (removed === weights.ratios.length) return high;
  return Math.min(high, Math.max(low, Math.log10(cutRatio(rate, weights))));
}

function binRectangles({ left, right, top, bottom, ...size }, counts, most, cut) {
  const step = (size.width - left - right) / BINS;
  return counts.map((count, i) => {
    const height = (count / most) * (size.height - top - bottom);
    const place = { x: left + i * step, y: size.height - bottom - height };
    const name = (i + 0.5) / BINS < cut ? "bar removed" : "bar";
    return svgElement("rect", { class: name, ...place, width: step - 0.5, height });
  });
}

function prunedView(frame, explorer) {
  const x = { ...SHARES, label: "weights removed" };
  const draw = accuracyView(frame, { x, nameOf: percentage });
  return ({ rate, num_samples: count }) => {
    const known = knownAccuracies(explorer, count);
    const points = explorer.rates
      .filter((each) => known.has(each))
      .map((each) => [each, known.get(each)]);
    draw(`Right answers on ${explorer.images.length} images`, points, rate);
  };
}

// --- Putting it together

function readPruningExplorer(model) {
  const description = model.get("network");
  return {
    ...readPictures(model),
    description,
    weights: readWeights(description, model.get("blobs")),
    rates: model.get("rates"),
    accuracies: new Map(),
  };
}

function addPruningControls(frame, { rates }) {
  networksChoice(frame);
  slider(frame, { name: "rate", label: "removed", values: rates, format: percentage });
  const options = frame.model.get("sample_choices").map((value) => ({
    value,
    label: value ? `mean of ${value} draws` : "mean weights",
  }));
  choice(frame, { name: "num_samples", label: "answer by", options });
}

function renderPruning({ model, el }) {
  const frame = explorable(model, el, { label: "Pruning a Bayesian network" });
  const explorer = readPruningExplorer(model);
  const drawRatios = ratioView(frame, explorer);
  const drawAccuracy = prunedView(frame, explorer);
  addPruningControls(frame, explorer);
  reserve(frame, model.get("sample_choices").map((n) => longestPruningSentence(explorer, n)));

  const ask = pruneInBackground(frame);
  follow(frame, ["rate", "num_samples"], (state) => {
    drawRatios(state.rate);
    drawAccuracy(state);
    ask(state, (known) => {
      explorer.accuracies.set(state.num_samples, known);
      drawAccuracy(state);
      say(frame, pruningSentence(state, explorer));
    });
  });
  return frame.close;
}

function render(context) {
  return withChosenNetworks(context, renderPruning);
}

export default { render };
