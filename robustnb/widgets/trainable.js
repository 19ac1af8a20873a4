// Small networks that train in the page: layers with the gradients of their weights, for batches.
//
// A batch of N examples is one array, example after example. A layer has `forward(x, count, draws)`
// and, for the pass before it, `backward(into)`: from the gradient in its output to the one in its
// input, filling in the gradients of its `parameters`, each { name, value, gradient, std }. `std`
// marks levels of noise, which NoiseAdam trains. `draws` is { random, shared }: with `shared`, all
// examples of a pass get the same noise. What a layer adds to the loss, such as a penalty, is never
// computed: only its gradient is needed.

function parameter(name, value, std = false) {
  const own = Float64Array.from(value);
  return { name, value: own, gradient: new Float64Array(own.length), std };
}

// --- Products

// Adds to `sum` (rows, columns) the product of a (rows, inner) and b (inner, columns): along
// memory, four rows of b at a time.
function addProduct(sum, a, b, rows, inner, columns) {
  for (let row = 0; row < rows; row++) {
    const from = row * inner;
    const to = row * columns;
    let k = 0;
    for (; k + 3 < inner; k += 4) {
      const f0 = a[from + k];
      const f1 = a[from + k + 1];
      const f2 = a[from + k + 2];
      const f3 = a[from + k + 3];
      let i = k * columns;
      for (let j = 0; j < columns; j++, i++) {
        const first = f0 * b[i] + f1 * b[i + columns];
        sum[to + j] += first + f2 * b[i + 2 * columns] + f3 * b[i + 3 * columns];
      }
    }
    for (; k < inner; k++) {
      const factor = a[from + k];
      for (let j = 0; j < columns; j++) sum[to + j] += factor * b[k * columns + j];
    }
  }
  return sum;
}

function multiplied(a, b, rows, inner, columns) {
  return addProduct(new Float64Array(rows * columns), a, b, rows, inner, columns);
}

function flipped(matrix, rows, columns) {
  const result = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < columns; j++) result[j * rows + row] = matrix[row * columns + j];
  }
  return result;
}

// Returns x W^T + b for a batch, with weights (outputs, inputs).
function affine(x, weights, bias, count, { inputs, outputs }) {
  const result = new Float64Array(count * outputs);
  for (let row = 0; row < count; row++) result.set(bias, row * outputs);
  return addProduct(result, x, flipped(weights, outputs, inputs), count, inputs, outputs);
}

// Returns the gradients in weights and bias, from that in the output of `affine`.
function affineGradients(x, into, count, { inputs, outputs }) {
  const weights = multiplied(flipped(into, count, outputs), x, outputs, count, inputs);
  const bias = multiplied(new Float64Array(count).fill(1), into, 1, count, outputs);
  return { weights, bias };
}

// --- Layers

// `start` is { weights, bias }. `decay` adds decay / outputs times the sum of squared weights, as
// RegularizedCrossEntropy does. `balance` scales each example's gradient in the weights, as BANG
// does; the gradient that flows on stays as it was.
export function denseLayer(size, start, { decay = 0, balance = 0 } = {}) {
  const weights = parameter("weights", start.weights);
  const bias = parameter("bias", start.bias);
  const strength = decay / size.outputs;
  let [x, count] = [null, 0];
  return {
    parameters: [weights, bias],
    forward(input, number) {
      [x, count] = [input, number];
      return affine(x, weights.value, bias.value, count, size);
    },
    backward(into, onlyInput) {
      const intoInput = multiplied(into, weights.value, count, size.outputs, size.inputs);
      if (onlyInput) return intoInput;
      const scaled = balance ? balancedRows(into, size.outputs, balance) : into;
      const found = affineGradients(x, scaled, count, size);
      found.weights.forEach((g, i) => (weights.gradient[i] = g + 2 * strength * weights.value[i]));
      bias.gradient.set(found.bias);
      return intoInput;
    },
  };
}

// Multiplies each row by its eta (BANG, eqs. 3 and 4); a row of zeros has no direction.
function balancedRows(rows, width, eps) {
  const norms = Array.from({ length: rows.length / width }, (_, i) =>
    Math.hypot(...rows.subarray(i * width, (i + 1) * width)));
  const largest = Math.max(...norms);
  const eta = norms.map((norm) =>
    norm > 0 ? Math.exp(eps * (1 - norm / largest) * Math.log(largest / norm)) : 1);
  return rows.map((value, i) => value * eta[Math.floor(i / width)]);
}

export function rectifier() {
  let output = null;
  return {
    parameters: [],
    forward(x) {
      output = new Float64Array(x.length);
      for (let i = 0; i < x.length; i++) if (x[i] > 0) output[i] = x[i];
      return output;
    },
    backward(into) {
      const result = new Float64Array(into.length);
      for (let i = 0; i < into.length; i++) if (output[i] > 0) result[i] = into[i];
      return result;
    },
  };
}

// Adds sigma * epsilon to each of `width` neurons, with one sigma for each.
export function neuronNoise(width, { sigma, trainable }) {
  const sigmas = parameter("sigma", Array(width).fill(sigma), true);
  let [noise, turn] = [null, 0]; // the noise of each example, or of all, comes in turn
  return {
    parameters: trainable ? [sigmas] : [],
    forward(x, count, { random, shared }) {
      turn = shared ? 0 : width;
      noise = filled(shared ? width : count * width, random.normal);
      const result = new Float64Array(x.length);
      for (let row = 0; row < count; row++) {
        for (let j = 0; j < width; j++) {
          const i = row * width + j;
          result[i] = x[i] + sigmas.value[j] * noise[row * turn + j];
        }
      }
      return result;
    },
    backward(into) {
      sigmas.gradient.fill(0);
      for (let row = 0; row * width < into.length; row++) {
        for (let j = 0; j < width; j++) {
          sigmas.gradient[j] += into[row * width + j] * noise[row * turn + j];
        }
      }
      return into;
    },
  };
}

function filled(length, take) {
  const result = new Float64Array(length);
  for (let i = 0; i < length; i++) result[i] = take();
  return result;
}

// Weights drawn from Gaussians, one draw for the whole batch; the bias is their last column. The
// loss grows by `weight` times log q(w) - log P(w) of the draw.
export function drawnWeights({ inputs, outputs }, start, { rhoInit, weight, prior }) {
  const columns = inputs + 1;
  const size = { inputs: columns, outputs };
  const means = withColumn(start.weights, start.bias, inputs);
  const mu = parameter("mu", means);
  const rho = parameter("rho", means.map(() => rhoInit));
  let [x, count, drawn, epsilon] = [null, 0, null, null];
  const sigma = () => rho.value.map((value) => Math.log1p(Math.exp(value)));
  return {
    parameters: [mu, rho],
    forward(input, number, { random }) {
      const std = sigma();
      epsilon = filled(mu.value.length, random.normal);
      drawn = mu.value.map((mean, i) => mean + std[i] * epsilon[i]);
      [x, count] = [withColumn(input, new Float64Array(number).fill(1), inputs), number];
      return affine(x, drawn, new Float64Array(outputs), count, size);
    },
    backward(into) {
      const found = affineGradients(x, into, count, size).weights;
      const std = sigma();
      found.forEach((gradient, i) => {
        const intoMean = gradient - weight * priorSlope(drawn[i], prior);
        const intoSigma = intoMean * epsilon[i] - weight / std[i];
        mu.gradient[i] = intoMean;
        rho.gradient[i] = intoSigma / (1 + Math.exp(-rho.value[i]));
      });
      const whole = multiplied(into, drawn, count, outputs, columns);
      return whole.filter((_, i) => i % columns < inputs);
    },
  };
}

// Puts one more number at the end of each row.
function withColumn(matrix, column, width) {
  const result = new Float64Array(matrix.length + column.length);
  column.forEach((last, row) => {
    result.set(matrix.subarray(row * width, (row + 1) * width), row * (width + 1));
    result[row * (width + 1) + width] = last;
  });
  return result;
}

// The derivative of log P at w, for a mixture of a wide and a narrow Gaussian.
function priorSlope(w, { pi, sigma1, sigma2 }) {
  const log = (share, std) => Math.log(share / std) - 0.5 * (w / std) ** 2;
  const wideShare = 1 / (1 + Math.exp(log(1 - pi, sigma2) - log(pi, sigma1)));
  return -w * (wideShare / sigma1 ** 2 + (1 - wideShare) / sigma2 ** 2);
}

// Parametric noise injection: weights + alpha * eta with eta ~ N(0, std(weights)^2), one draw for
// the whole batch and one alpha for the layer; the std is a constant to the gradient.
export function injectedWeights(size, start, { alphaInit }) {
  const weights = parameter("weights", start.weights);
  const bias = parameter("bias", start.bias);
  const alpha = parameter("alpha", [alphaInit]);
  let [x, count, drawn, eta] = [null, 0, null, null];
  return {
    parameters: [weights, bias, alpha],
    forward(input, number, { random }) {
      const std = spread(weights.value);
      eta = filled(weights.value.length, () => std * random.normal());
      drawn = weights.value.map((w, i) => w + alpha.value[0] * eta[i]);
      [x, count] = [input, number];
      return affine(x, drawn, bias.value, count, size);
    },
    backward(into) {
      const found = affineGradients(x, into, count, size);
      weights.gradient.set(found.weights);
      bias.gradient.set(found.bias);
      alpha.gradient[0] = found.weights.reduce((sum, gradient, i) => sum + gradient * eta[i], 0);
      return multiplied(into, drawn, count, size.outputs, size.inputs);
    },
  };
}

function spread(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

// Neighbouring units compete; the winner, drawn from softmax(h), alone passes on its h. Gradients
// flow through a softmax at `temperature` instead. The loss grows by `weight` times the mean KL
// divergence of the winners from a uniform draw.
export function competingUnits(width, { units, temperature, weight }) {
  let [h, competing, mask, count] = [null, null, null, 0];
  return {
    parameters: [],
    forward(input, number, { random, shared }) {
      [h, count] = [input, number];
      const gumbel = () => -Math.log(-Math.log(random.uniform()));
      competing = filled(shared ? width : h.length, gumbel);
      if (shared) competing = repeated(competing, count);
      for (let i = 0; i < h.length; i++) competing[i] += h[i];
      mask = winners(competing, units);
      const result = new Float64Array(h.length);
      for (let i = 0; i < h.length; i++) result[i] = mask[i] * h[i];
      return result;
    },
    backward(into) {
      const soft = blockSoftmax(competing, units, temperature);
      const throughMask = throughSoftmax(soft, into.map((gradient, i) => gradient * h[i]), units);
      const chances = blockSoftmax(h, units, 1);
      const slopes = chances.map((q) => (q > 0 ? (weight / count) * Math.log(q * units) : 0));
      const throughCost = throughSoftmax(chances, slopes, units);
      return into.map((gradient, i) =>
        gradient * mask[i] + throughMask[i] / temperature + throughCost[i]);
    },
  };
}

function repeated(row, count) {
  const result = new Float64Array(row.length * count);
  for (let i = 0; i < count; i++) result.set(row, i * row.length);
  return result;
}

function blockSoftmax(values, units, temperature) {
  const result = new Float64Array(values.length);
  for (let start = 0; start < values.length; start += units) {
    const end = start + units;
    let [largest, total] = [-Infinity, 0];
    for (let i = start; i < end; i++) largest = Math.max(largest, values[i]);
    for (let i = start; i < end; i++) {
      result[i] = Math.exp((values[i] - largest) / temperature);
      total += result[i];
    }
    for (let i = start; i < end; i++) result[i] /= total;
  }
  return result;
}

function winners(values, units) {
  const result = new Float64Array(values.length);
  for (let start = 0; start < values.length; start += units) {
    let best = start;
    for (let i = start; i < start + units; i++) if (values[i] > values[best]) best = i;
    result[best] = 1;
  }
  return result;
}

// Takes a gradient in a softmax of temperature 1 to the one in its values.
function throughSoftmax(soft, into, units) {
  const result = new Float64Array(soft.length);
  for (let start = 0; start < soft.length; start += units) {
    let mean = 0;
    for (let i = start; i < start + units; i++) mean += soft[i] * into[i];
    for (let i = start; i < start + units; i++) result[i] = soft[i] * (into[i] - mean);
  }
  return result;
}

// --- A pass through all layers

export function passed(layers, x, count, draws) {
  return layers.reduce((values, layer) => layer.forward(values, count, draws), x);
}

// Fills in the gradients of all parameters, which an attacker does not need; returns the one in the
// input.
export function pulledBack(layers, into, { onlyInput = false } = {}) {
  return layers.reduceRight((gradient, layer) => layer.backward(gradient, onlyInput), into);
}

// The mean cross-entropy of two classes, and its gradient in the logits (N, 2).
export function batchCrossEntropy(logits, labels) {
  const gradient = new Float64Array(logits.length);
  let loss = 0;
  labels.forEach((label, i) => {
    const ahead = logits[2 * i + label] - logits[2 * i + 1 - label];
    const wrong = 1 / (1 + Math.exp(ahead)); // the probability of the other class
    // log(1 + exp(-ahead)), which does not overflow
    loss += (Math.log1p(Math.exp(-Math.abs(ahead))) + Math.max(0, -ahead)) / labels.length;
    gradient[2 * i + label] = -wrong / labels.length;
    gradient[2 * i + 1 - label] = wrong / labels.length;
  });
  return { loss, gradient };
}

// --- Optimizers

// Adam as torch has it; levels of noise by NoiseAdam, which adds `tiny` under the root and takes
// absolute values (Xiao, Zhang and Peng, eq. 7).
export function adam(parameters, lr, { first = 0.9, second = 0.999, tiny = 1e-8 } = {}) {
  const means = parameters.map(({ value }) => new Float64Array(value.length));
  const squares = parameters.map(({ value }) => new Float64Array(value.length));
  let steps = 0;
  return () => {
    steps += 1;
    const [meanShare, squareShare] = [1 - first ** steps, 1 - second ** steps];
    parameters.forEach(({ value, gradient, std }, p) => {
      const [mean, square] = [means[p], squares[p]];
      for (let i = 0; i < value.length; i++) {
        mean[i] += (1 - first) * (gradient[i] - mean[i]);
        square[i] += (1 - second) * (gradient[i] ** 2 - square[i]);
        const root = std
          ? Math.sqrt(square[i] / squareShare + tiny)
          : Math.sqrt(square[i] / squareShare) + tiny;
        value[i] -= (lr * mean[i]) / meanShare / root;
        if (std) value[i] = Math.abs(value[i]);
      }
    });
  };
}
