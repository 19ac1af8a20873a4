// A trained network that runs in the page: logits of one image, and their gradient in its pixels.

// --- Random numbers

// xoshiro128** of Blackman and Vigna (2021), its state filled by a SplitMix32 of the seed.
export function randomGenerator(seed) {
  let [a, b, c, d] = Array.from({ length: 4 }, splitMix(seed));
  let spare = null;

  function next() {
    const result = Math.imul(rotated(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotated(d, 11);
    return result;
  }

  // In (0, 1) without the ends, so that every logarithm of it is finite.
  function uniform() {
    return (next() + 0.5) / 2 ** 32;
  }

  // Box and Muller (1958): two uniform numbers give two normal ones.
  function normal() {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  return { uniform, normal };
}

function splitMix(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
}

function rotated(word, by) {
  return (word << by) | (word >>> (32 - by));
}

// --- Tensors

const NUMBERS = { float32: Float32Array, float16: Uint16Array, int8: Int8Array, uint8: Uint8Array };

// Reads what `tensor_blob` of network.py wrote: base64, or the bytes themselves.
export function decodeTensor(spec, blobs) {
  const blob = blobs[spec.blob];
  const bytes = typeof blob === "string"
    ? Uint8Array.from(atob(blob), (letter) => letter.charCodeAt(0))
    : blob;
  const stored = new NUMBERS[spec.dtype](bytes.buffer);
  if (spec.dtype === "float16") return Float32Array.from(stored, halfToNumber);
  if (spec.dtype === "uint8") return Float32Array.from(stored, (value) => value / 255);
  if (spec.dtype === "float32") return stored;
  const scale = decodeTensor(spec.scale, blobs);
  const columns = stored.length / scale.length;
  return Float32Array.from(stored, (value, i) => value * scale[Math.floor(i / columns)]);
}

// IEEE 754 half precision: one bit of sign, five of exponent, ten of fraction.
function halfToNumber(half) {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

export function product(shape) {
  return shape.reduce((total, length) => total * length, 1);
}

// --- Layers
//
// A layer is made from its description, the shape of its input and a function that reads a tensor.
// It has the shape of its output and `prepare(input, scale)`, which does the work that all passes
// with this input share and returns `draw(random)`. A draw gives the output and `pull`, which takes
// the gradient in the output to the gradient in the input.

function deterministic(shape, forward) {
  return {
    shape,
    stochastic: false,
    prepare(input) {
      const step = forward(input);
      return () => step;
    },
  };
}

function transposed(matrix, rows, columns) {
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = matrix[row * columns + column];
    }
  }
  return result;
}

// Adds to `sum` the rows of a matrix times these factors: along memory, four rows at a time, and
// what is zero (a black pixel, a unit that is off) costs nothing.
function addRows(sum, matrix, factors) {
  const width = sum.length;
  const rows = nonzeroIndices(factors);
  let k = 0;
  for (; k + 3 < rows.length; k += 4) {
    const [r0, r1, r2, r3] = [rows[k], rows[k + 1], rows[k + 2], rows[k + 3]];
    const [f0, f1, f2, f3] = [factors[r0], factors[r1], factors[r2], factors[r3]];
    const [m0, m1, m2, m3] = [r0 * width, r1 * width, r2 * width, r3 * width];
    for (let j = 0; j < width; j++) {
      const first = f0 * matrix[m0 + j] + f1 * matrix[m1 + j];
      sum[j] += first + f2 * matrix[m2 + j] + f3 * matrix[m3 + j];
    }
  }
  for (; k < rows.length; k++) {
    const [factor, start] = [factors[rows[k]], rows[k] * width];
    for (let j = 0; j < width; j++) sum[j] += factor * matrix[start + j];
  }
  return sum;
}

function nonzeroIndices(values) {
  const indices = [];
  for (let i = 0; i < values.length; i++) if (values[i] !== 0) indices.push(i);
  return indices;
}

function linearLayer(description, shape, read) {
  const [outputs, inputs] = description.weight.shape;
  const weights = read(description.weight);
  const columns = transposed(weights, outputs, inputs);
  const bias = description.bias ? read(description.bias) : new Float32Array(outputs);
  return deterministic([outputs], (input) => ({
    output: addRows(bias.slice(), columns, input),
    pull: (gradient) => addRows(new Float32Array(inputs), weights, gradient),
  }));
}

function slidShape({ height, width }, { size, stride, padding, ceil }) {
  const places = (length, axis) => {
    const steps = (length + 2 * padding[axis] - size[axis]) / stride[axis];
    if (!ceil) return Math.floor(steps) + 1;
    const last = Math.ceil(steps); // left out if it would begin beyond the edge
    return last * stride[axis] < length + padding[axis] ? last + 1 : last;
  };
  return { height: places(height, 0), width: places(width, 1) };
}

// A window slides over one channel. Says for each of its elements, and for each place of the
// output, which pixel lies there; -1 beyond the edge.
function windowPlaces({ height, width }, output, { size, stride, padding }) {
  const plane = output.height * output.width;
  return Int32Array.from({ length: size[0] * size[1] * plane }, (_, i) => {
    const [place, inWindow] = [i % plane, Math.floor(i / plane)];
    const top = Math.floor(place / output.width) * stride[0] - padding[0];
    const row = top + Math.floor(inWindow / size[1]);
    const column = (place % output.width) * stride[1] - padding[1] + (inWindow % size[1]);
    const isInside = row >= 0 && row < height && column >= 0 && column < width;
    return isInside ? row * width + column : -1;
  });
}

// A row of `patches` holds, for one element of the kernel, the pixels under it at every place of
// the output. An output map is the sum of these rows times the kernel's numbers.
function convolutionLayer(description, [channels, height, width], read) {
  const [outputs, , ...size] = description.weight.shape;
  const window = { size, stride: description.stride, padding: description.padding };
  const shape = slidShape({ height, width }, window);
  const plane = shape.height * shape.width;
  const inOneChannel = windowPlaces({ height, width }, shape, window);
  const places = Int32Array.from({ length: channels * inOneChannel.length }, (_, i) => {
    const place = inOneChannel[i % inOneChannel.length];
    return place < 0 ? -1 : place + Math.floor(i / inOneChannel.length) * height * width;
  });
  const kernels = read(description.weight);
  const rows = kernels.length / outputs;
  const columns = transposed(kernels, outputs, rows);
  const bias = description.bias ? read(description.bias) : new Float32Array(outputs);

  function forward(input) {
    const patches = new Float32Array(places.length);
    for (let i = 0; i < places.length; i++) if (places[i] >= 0) patches[i] = input[places[i]];
    const output = new Float32Array(outputs * plane);
    for (let map = 0; map < outputs; map++) {
      const sum = output.subarray(map * plane, (map + 1) * plane).fill(bias[map]);
      addRows(sum, patches, kernels.subarray(map * rows, (map + 1) * rows));
    }
    return { output, pull };
  }

  function pull(gradient) {
    const result = new Float32Array(channels * height * width);
    for (let row = 0; row < rows; row++) {
      const factors = columns.subarray(row * outputs, (row + 1) * outputs);
      addRows(new Float32Array(plane), gradient, factors).forEach((value, i) => {
        const place = places[row * plane + i];
        if (place >= 0) result[place] += value;
      });
    }
    return result;
  }

  return deterministic([outputs, shape.height, shape.width], forward);
}

// The two poolings differ in how a window's pixels share in its output.
function poolingLayer(description, [channels, height, width], shares) {
  const window = { ...description, padding: [0, 0] };
  const shape = slidShape({ height, width }, window);
  const plane = shape.height * shape.width;
  const places = windowPlaces({ height, width }, shape, window);
  const members = Array.from({ length: plane }, () => []);
  places.forEach((pixel, i) => pixel >= 0 && members[i % plane].push(pixel));

  function forward(input) {
    const output = new Float32Array(channels * plane);
    const links = []; // [place in the output, place in the input, share]
    for (let place = 0; place < output.length; place++) {
      const start = Math.floor(place / plane) * height * width;
      for (const [from, share] of shares(members[place % plane], start, input)) {
        output[place] += share * input[from];
        links.push([place, from, share]);
      }
    }
    return { output, pull: (gradient) => pullLinks(links, gradient, input.length) };
  }

  return deterministic([channels, shape.height, shape.width], forward);
}

function pullLinks(links, gradient, inputs) {
  const result = new Float32Array(inputs);
  for (const [to, from, share] of links) result[from] += share * gradient[to];
  return result;
}

function sharesOfMaximum(members, start, input) {
  let largest = members[0];
  for (const member of members) {
    if (input[start + member] > input[start + largest]) largest = member;
  }
  return [[start + largest, 1]];
}

function sharesOfAverage(members, start) {
  return members.map((member) => [start + member, 1 / members.length]);
}

function reluLayer(shape) {
  return deterministic(shape, (input) => {
    const output = new Float32Array(input.length);
    for (let i = 0; i < input.length; i++) if (input[i] > 0) output[i] = input[i];
    return { output, pull };

    function pull(gradient) {
      const result = new Float32Array(gradient.length);
      for (let i = 0; i < result.length; i++) if (output[i] > 0) result[i] = gradient[i];
      return result;
    }
  });
}

// `slope` takes the output, from which the derivatives of sigmoid and tanh follow.
function elementwiseLayer(shape, value, slope) {
  return deterministic(shape, (input) => {
    const output = input.map(value);
    return { output, pull: (gradient) => gradient.map((into, i) => into * slope(output[i])) };
  });
}

function logistic(x) {
  return 1 / (1 + Math.exp(-x));
}

// Scaling, normalisation and batch normalisation: a factor and a shift for each channel or for all.
function affineLayer({ factor, shift }, shape) {
  const plane = product(shape) / factor.length;
  const channel = (i) => Math.floor(i / plane);
  return deterministic(shape, (input) => ({
    output: input.map((value, i) => value * factor[channel(i)] + shift[channel(i)]),
    pull: (gradient) => gradient.map((into, i) => into * factor[channel(i)]),
  }));
}

function flattenLayer(shape) {
  return deterministic([product(shape)], (input) => ({ output: input, pull: (into) => into }));
}

// A linear layer whose weights are Gaussians. For one image, the outputs of drawn weights are
// Gaussians themselves, independent of each other: drawing those instead costs two products for
// all draws together (the local reparametrisation of Kingma et al. 2015).
function gaussianWeightsLayer(description, _, read) {
  const [outputs, columns] = description.mu.shape; // the last column is the bias
  const means = read(description.mu);
  const variances = read(description.rho).map(softplusSquared);
  const meanColumns = transposed(means, outputs, columns);
  const varianceColumns = transposed(variances, outputs, columns);

  function prepare(input, { sigma = 1 }) {
    const extended = new Float32Array(columns).fill(1);
    extended.set(input);
    const mean = addRows(new Float32Array(outputs), meanColumns, extended);
    const std = addRows(new Float32Array(outputs), varianceColumns, squared(extended));
    for (let j = 0; j < outputs; j++) std[j] = sigma * Math.sqrt(std[j]);

    function draw(random) {
      const noise = new Float32Array(outputs);
      const output = mean.slice();
      if (random) for (let j = 0; j < outputs; j++) {
        noise[j] = random.normal();
        output[j] += std[j] * noise[j];
      }
      return { output, pull: (gradient) => pull(gradient, noise) };
    }

    function pull(gradient, noise) {
      const intoVariance = gradient.map((into, j) =>
        std[j] > 0 ? (into * noise[j] * sigma * sigma) / std[j] : 0);
      const throughMean = addRows(new Float32Array(columns), means, gradient);
      const throughVariance = addRows(new Float32Array(columns), variances, intoVariance);
      return input.map((value, i) => throughMean[i] + value * throughVariance[i]);
    }

    return draw;
  }

  return { shape: [outputs], stochastic: true, prepare };
}

function squared(values) {
  const result = new Float32Array(values.length);
  for (let i = 0; i < result.length; i++) result[i] = values[i] * values[i];
  return result;
}

export function softplusSquared(rho) {
  const softplus = rho > 20 ? rho : Math.log1p(Math.exp(rho));
  return softplus * softplus;
}

// One sigma for each number that passes.
function gaussianNoiseLayer(description, shape, read) {
  const sigmas = read(description.sigma);
  return {
    shape,
    stochastic: true,
    prepare: (input, { sigma = 1 }) => (random) => ({
      output: random ? input.map((x, i) => x + sigma * sigmas[i] * random.normal()) : input,
      pull: (gradient) => gradient,
    }),
  };
}

// Neighbouring units (or channels, at each position) compete in blocks; see WinnerTakesAll of
// lwta.py for the modes. `scale.mode` and `scale.temperature` replace the layer's own.
function winnerTakesAllLayer(description, shape) {
  const positions = product(shape.slice(1));

  function prepare(input, scale) {
    const { units, mode, temperature } = { ...description, ...scale };
    const blocks = blockMembers(input.length, units, positions);
    return (random) => {
      const mask = new Float32Array(input.length);
      const competitions = blocks.map((members) => {
        const competition = compete(members.map((i) => input[i]), mode, temperature, random);
        members.forEach((i, unit) => (mask[i] = competition.mask[unit]));
        return competition;
      });
      return { output: input.map((x, i) => x * mask[i]), pull: pullThrough(mask, competitions) };
    };

    function pullThrough(mask, competitions) {
      return (gradient) => {
        const result = gradient.map((into, i) => into * mask[i]);
        blocks.forEach((members, b) => {
          const into = members.map((i) => gradient[i] * input[i]);
          pullSoftmax(competitions[b], into).forEach((value, u) => (result[members[u]] += value));
        });
        return result;
      };
    }
  }

  return { shape, stochastic: true, prepare };
}

// Where the units of each block stand; a unit's positions lie together.
export function blockMembers(length, units, positions) {
  return Array.from({ length: length / units }, (_, b) => {
    const start = Math.floor(b / positions) * units * positions + (b % positions);
    return Array.from({ length: units }, (_, unit) => start + unit * positions);
  });
}

// One block: the mask, and the softmax through which gradients flow, if any. Without random
// numbers the mask is its mean, unless the mode asks for the largest.
function compete(values, mode, temperature, random) {
  if (mode === "argmax") return { mask: oneHot(values), soft: null };
  if (mode === "mean" || !random) return { mask: softmax(values), soft: softmax(values), heat: 1 };
  const competing = values.map((value) => value - Math.log(-Math.log(random.uniform())));
  if (mode === "sample") return { mask: oneHot(competing), soft: null };
  const soft = softmax(competing.map((value) => value / temperature));
  return { mask: mode === "relaxed" ? soft : oneHot(competing), soft, heat: temperature };
}

function oneHot(values) {
  const winner = largestIndex(values);
  return values.map((_, i) => (i === winner ? 1 : 0));
}

function pullSoftmax({ soft, heat }, into) {
  if (!soft) return into.map(() => 0);
  const mean = into.reduce((sum, value, i) => sum + value * soft[i], 0);
  return into.map((value, i) => (soft[i] * (value - mean)) / heat);
}

export const LAYERS = {
  "linear": linearLayer,
  "convolution": convolutionLayer,
  "relu": (_, shape) => reluLayer(shape),
  "sigmoid": (_, shape) => elementwiseLayer(shape, logistic, (y) => y * (1 - y)),
  "tanh": (_, shape) => elementwiseLayer(shape, Math.tanh, (y) => 1 - y * y),
  "max pooling": (description, shape) => poolingLayer(description, shape, sharesOfMaximum),
  "average pooling": (description, shape) => poolingLayer(description, shape, sharesOfAverage),
  "flatten": (_, shape) => flattenLayer(shape),
  "affine": affineLayer,
  "gaussian weights": gaussianWeightsLayer,
  "gaussian noise": gaussianNoiseLayer,
  "winner takes all": winnerTakesAllLayer,
};

// --- Networks

const loadedNetworks = new Map();

// Builds a network from what `describe` of network.py wrote; once for all widgets that show it.
export function loadNetwork(description, blobs) {
  const key = JSON.stringify(description); // it names its weights by their digests
  if (!loadedNetworks.has(key)) loadedNetworks.set(key, buildNetwork(description, blobs));
  return loadedNetworks.get(key);
}

function buildNetwork({ input, layers }, blobs) {
  const read = (spec) => decodeTensor(spec, blobs);
  const built = [];
  let shape = input;
  for (const layer of layers) {
    built.push(LAYERS[layer.kind](layer, shape, read));
    shape = built.at(-1).shape;
  }
  const stochastic = built.some((layer) => layer.stochastic);
  return { input, layers: built, stochastic };
}

const STOCHASTIC = ["gaussian weights", "gaussian noise", "winner takes all"];

// Tells of a description whether its network draws random numbers.
export function isStochastic({ layers }) {
  return layers.some(({ kind }) => STOCHASTIC.includes(kind));
}

// Returns the logits of one image (channels first, as floats) and a trace for `inputGradient`.
// `random` feeds the stochastic layers; without it they take their means. `scale.sigma` multiplies
// every standard deviation; see winnerTakesAllLayer for the rest of `scale`.
export function forward(network, image, random = null, scale = {}) {
  const { output, trace } = passThrough(network.layers, image, random, scale);
  return { logits: output, trace };
}

function passThrough(layers, input, random, scale) {
  const trace = [];
  let output = input;
  for (const layer of layers) {
    const step = layer.prepare(output, scale)(random);
    trace.push(step.pull);
    output = step.output;
  }
  return { output, trace };
}

// Takes a gradient in the logits back to the pixels.
export function inputGradient(network, trace, gradientOfLogits) {
  return trace.reduceRight((gradient, pull) => pull(gradient), gradientOfLogits);
}

// Yields the logits of `count` passes; what comes before the first draw is computed once.
function* drawLogits(network, image, count, random, scale = {}) {
  const first = network.layers.findIndex((layer) => layer.stochastic);
  const split = first < 0 ? network.layers.length - 1 : first;
  const before = passThrough(network.layers.slice(0, split), image, null, scale).output;
  const draw = network.layers[split].prepare(before, scale);
  const after = network.layers.slice(split + 1);
  for (let i = 0; i < count; i++) {
    yield passThrough(after, draw(random).output, random, scale).output;
  }
}

export function sampleLogits(network, image, count, random) {
  return [...drawLogits(network, image, count, random)];
}

// Returns the logits of `count` passes as well, but yields after each.
export function* sampleSteps(network, image, count, random, scale) {
  const samples = [];
  for (const logits of drawLogits(network, image, count, random, scale)) {
    samples.push(logits);
    yield;
  }
  return samples;
}

// --- Answers and their loss

export function softmax(logits) {
  const largest = logits.reduce((most, value) => Math.max(most, value), -Infinity);
  const weights = Array.from(logits, (value) => Math.exp(value - largest));
  const total = weights.reduce((sum, value) => sum + value, 0);
  return Float32Array.from(weights, (value) => value / total);
}

// The probabilities of an ensemble: the mean of those of its members.
export function meanProbabilities(samples) {
  const mean = new Float32Array(samples[0].length);
  for (const logits of samples) {
    const probabilities = softmax(logits);
    for (let i = 0; i < mean.length; i++) mean[i] += probabilities[i] / samples.length;
  }
  return mean;
}

export function largestIndex(values, except = -1) {
  let best = except === 0 ? 1 : 0;
  for (let i = 0; i < values.length; i++) if (i !== except && values[i] > values[best]) best = i;
  return best;
}

// In the numbers of single precision, as in torch: where the label's probability rounds to 1, this
// gradient vanishes.
export function crossEntropyGradient(logits, label) {
  const gradient = softmax(logits);
  gradient[label] -= 1;
  return gradient;
}
