// Attacks on a network of network.js: those of robustnb/attacks, for one image in [0, 1].
//
// Each is a generator that yields after every step, so that a page can do the work in slices, and
// returns the attacked image. Options have the names of the Python fields. `random` feeds random
// starts and stochastic networks; without it there is no random start, and networks take their
// means.

import { crossEntropyGradient, forward, inputGradient, largestIndex } from "./network.js";

// Moves every pixel by `eps` against the label (Goodfellow et al. 2015).
export function* fgsmSteps(network, image, label, { eps, ...options }) {
  const gradient = yield* averagedGradient(network, image, label, options);
  return image.map((pixel, i) => clamped(pixel + eps * Math.sign(gradient[i])));
}

// Takes `steps` of length `alpha`, each followed by a projection into the ball of radius `eps` in
// the maximum norm (Madry et al. 2018).
export function* pgdSteps(network, image, label, { eps, alpha, steps, ...options }) {
  const { random } = options;
  const project = (value, i) =>
    clamped(Math.min(image[i] + eps, Math.max(image[i] - eps, value)));
  let found = image;
  if (random) found = image.map((pixel, i) => project(pixel + eps * (2 * random.uniform() - 1), i));
  for (let step = 0; step < steps; step++) {
    const gradient = yield* averagedGradient(network, found, label, options);
    found = found.map((pixel, i) => project(pixel + alpha * Math.sign(gradient[i]), i));
  }
  return found;
}

// Descends c |r| + cross-entropy(f(x + r), t), t the runner-up on the clean image, until the label
// is lost (Zhang & Chen 2020, eq. 5).
export function* minimumNormSteps(network, image, label, options = {}) {
  const { c = 0.02, alpha = 0.025, steps = 200, random = null } = options;
  let { logits, trace } = forward(network, image, random);
  const target = largestIndex(logits, label);
  let found = image;
  for (let step = 0; step < steps && largestIndex(logits) === label; step++) {
    // A stochastic network is asked anew for the gradient, as in Python.
    if (random) ({ logits, trace } = forward(network, found, random));
    const gradient = inputGradient(network, trace, crossEntropyGradient(logits, target));
    const pull = c / (distance(found, image) || 1);
    found = found.map((pixel, i) =>
      clamped(pixel - alpha * (gradient[i] + pull * (pixel - image[i]))));
    ({ logits, trace } = forward(network, found, random));
    yield;
  }
  return found;
}

// The input gradient of the loss, the mean over `eotSamples` passes of a stochastic network
// (expectation over transformation, Athalye et al. 2018).
function* averagedGradient(network, image, label, options) {
  const { random = null, eotSamples = 1, loss = crossEntropyGradient } = options;
  const passes = random && network.stochastic ? eotSamples : 1;
  const mean = new Float32Array(image.length);
  for (let pass = 0; pass < passes; pass++) {
    const { logits, trace } = forward(network, image, random);
    const gradient = inputGradient(network, trace, loss(logits, label));
    for (let i = 0; i < mean.length; i++) mean[i] += gradient[i] / passes;
    yield;
  }
  return mean;
}

function clamped(pixel) {
  return Math.min(1, Math.max(0, pixel));
}

export function distance(first, second) {
  let sum = 0;
  for (let i = 0; i < first.length; i++) sum += (first[i] - second[i]) ** 2;
  return Math.sqrt(sum);
}
