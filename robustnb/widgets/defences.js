// What each choice of the playground makes of one network, and one step of its training.

import { randomGenerator } from "./network.js";
import {
  adam,
  batchCrossEntropy,
  competingUnits,
  denseLayer,
  drawnWeights,
  injectedWeights,
  neuronNoise,
  passed,
  pulledBack,
  rectifier,
} from "./trainable.js";

const HIDDEN = [32, 32];

// --- Networks

// The size and the first weights of each layer, uniform as torch draws them.
export function firstWeights(random, widths = [2, ...HIDDEN, 2]) {
  return widths.slice(1).map((outputs, i) => {
    const inputs = widths[i];
    const bound = 1 / Math.sqrt(inputs);
    const draw = () => bound * (2 * random.uniform() - 1);
    const take = (length) => Float64Array.from({ length }, draw);
    return { size: { inputs, outputs }, weights: take(outputs * inputs), bias: take(outputs) };
  });
}

// Each takes the settings to { linear, after, hidden, attack }: how a linear layer is made, what
// follows each of them, what stands for the ReLU, and what attacks the batch first.
const NETWORKS = {
  "plain": () => ({}),
  "L2": ({ l2 }) => ({ linear: (size, start) => denseLayer(size, start, { decay: l2 }) }),
  "fixed noise": ({ sigma }) => ({
    after: (width) => [neuronNoise(width, { sigma, trainable: false })],
  }),
  "learned noise": ({ sigma }) => ({
    after: (width) => [neuronNoise(width, { sigma, trainable: true })],
  }),
  "Bayesian weights": (settings) => ({
    linear: (size, start) => drawnWeights(size, start, {
      rhoInit: settings.rho_init,
      weight: settings.complexity_weight,
      prior: settings.prior,
    }),
  }),
  "BANG": (settings) => ({
    linear: (size, start) => denseLayer(size, start, { balance: settings.bang_eps }),
  }),
  "winner takes all": ({ units, temperature, winner_weight: weight }) => ({
    hidden: (width) => competingUnits(width, { units, temperature, weight }),
  }),
  "PNI": (settings) => ({
    linear: (size, start) => injectedWeights(size, start, { alphaInit: settings.alpha_init }),
  }),
  "FGSM training": () => ({ attack: { steps: 1, share: 1, randomStart: false } }),
  "PGD training": () => ({ attack: { steps: 5, share: 0.4, randomStart: true } }),
};

const DRAWING = ["fixed noise", "learned noise", "Bayesian weights", "winner takes all", "PNI"];

export function buildDefence(defence, weights, settings) {
  const parts = NETWORKS[defence](settings);
  const { linear = denseLayer, after = () => [], hidden = rectifier, attack = null } = parts;
  const layers = weights.flatMap(({ size, ...start }, i) => [
    linear(size, start),
    ...after(size.outputs),
    ...(i < weights.length - 1 ? [hidden(size.outputs)] : []),
  ]);
  return { layers, attack, stochastic: DRAWING.includes(defence) };
}

// --- Training

// Returns `step(x, labels)`, which trains the network on one batch and returns its cross-entropy.
export function trainer(network, random, { lr, eps, norm }) {
  const { layers, attack } = network;
  const move = adam(layers.flatMap(({ parameters }) => parameters), lr);
  return (x, labels) => {
    const ball = { eps, norm };
    const seen = attack ? attacked(layers, x, labels, { ...ball, ...attack }, random) : x;
    const { loss, gradient } = batchCrossEntropy(
      passed(layers, seen, labels.length, { random }), labels,
    );
    pulledBack(layers, gradient);
    move();
    return loss;
  };
}

// FGSM and PGD within balls around the points, which lie anywhere in the plane. A step is `share`
// of the radius.
function attacked(layers, x, labels, { eps, norm, steps, share, randomStart }, random) {
  let found = randomStart ? moved(x, randomOffset(x, eps, norm, random)) : x;
  for (let i = 0; i < steps; i++) {
    const { gradient } = batchCrossEntropy(passed(layers, found, labels.length, {}), labels);
    const intoInput = pulledBack(layers, gradient, { onlyInput: true });
    const offset = moved(moved(found, steepest(intoInput, share * eps, norm)), x, -1);
    found = moved(x, insideBall(offset, eps, norm));
  }
  return found;
}

function moved(x, offset, sign = 1) {
  return x.map((value, i) => value + sign * offset[i]);
}

function randomOffset(x, eps, norm, random) {
  if (norm === "linf") return x.map(() => eps * (2 * random.uniform() - 1));
  const result = new Float64Array(x.length);
  for (let i = 0; i < x.length; i += 2) {
    const [radius, angle] = [eps * Math.sqrt(random.uniform()), 2 * Math.PI * random.uniform()];
    result.set([radius * Math.cos(angle), radius * Math.sin(angle)], i);
  }
  return result;
}

function steepest(gradient, length, norm) {
  if (norm === "linf") return gradient.map((value) => length * Math.sign(value));
  return perPoint(gradient, (size) => (size > 0 ? length / size : 0));
}

function insideBall(offset, eps, norm) {
  if (norm === "linf") return offset.map((value) => Math.max(-eps, Math.min(eps, value)));
  return perPoint(offset, (size) => (size > eps ? eps / size : 1));
}

// Multiplies each point's vector by what `factor` makes of its length.
function perPoint(vectors, factor) {
  const result = new Float64Array(vectors.length);
  for (let i = 0; i < vectors.length; i += 2) {
    const by = factor(Math.hypot(vectors[i], vectors[i + 1]));
    result[i] = by * vectors[i];
    result[i + 1] = by * vectors[i + 1];
  }
  return result;
}

// --- Answers

const CHUNK = 256; // points at a time, whose activations stay in a processor's cache

// Yields after each chunk; returns the probability of class 1 at each point: for a network that
// draws, the mean of `numDraws` passes, each of which gives all points the same noise.
export function* meanAnswers({ layers, stochastic }, points, numDraws, seed) {
  const mean = new Float64Array(points.length / 2);
  const passes = stochastic ? numDraws : 1;
  for (let draw = 0; draw < passes; draw++) {
    for (let start = 0; start < mean.length; start += CHUNK) {
      const part = points.subarray(2 * start, 2 * (start + CHUNK));
      const draws = { random: randomGenerator(seed + draw), shared: true };
      const logits = passed(layers, part, part.length / 2, draws);
      for (let i = 0; 2 * i < part.length; i++) {
        mean[start + i] += 1 / (1 + Math.exp(logits[2 * i] - logits[2 * i + 1])) / passes;
      }
      yield;
    }
  }
  return mean;
}
