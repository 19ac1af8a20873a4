// The learned noise of every neuron, and the network's answers with a multiple of it.

// --- What is computed

// First the picked image, then the accuracy at this multiple, then those of the other multiples,
// which are kept for as long as the seed is the same.
function* noiseSteps(state, explorer, show) {
  const samples = [];
  const { network, images, labels } = explorer;
  const options = [state.num_samples, randomGenerator(state.seed + 1), { sigma: state.scale }];
  for (const logits of drawLogits(network, images[state.image], ...options)) {
    samples.push(logits);
    yield;
  }
  const showNow = () => show({ samples, truth: labels[state.image] });
  showNow();
  for (const scale of [state.scale, ...explorer.scales]) {
    if (explorer.accuracies.has(scale)) continue;
    explorer.accuracies.set(scale, yield* accuracySteps(state.seed, scale, explorer));
    showNow();
  }
}

// The share of right answers, one draw for each image; the same random numbers at every multiple.
function* accuracySteps(seed, sigma, { network, images, labels }) {
  const random = randomGenerator(seed);
  let right = 0;
  for (let i = 0; i < images.length; i++) {
    const { logits } = forward(network, images[i], random, { sigma });
    right += largestIndex(logits) === labels[i];
    yield;
  }
  return right / images.length;
}

function forgetOtherSeeds(explorer, seed) {
  if (explorer.seed !== seed) explorer.accuracies.clear();
  explorer.seed = seed;
}

// --- What is said

function multiple(scale) {
  if (scale === 0) return "Without noise";
  if (scale === 1) return "With the noise as learned";
  return `With ${shortNumber(scale)} times the learned noise`;
}

function noiseSentence(state, { samples, truth }, { accuracies, images, classes }) {
  const share = accuracies.get(state.scale);
  const right = `${percentage(share ?? 0)} of ${images.length} images are right; `;
  const opening = `${multiple(state.scale)} ${share === undefined ? "" : right}`;
  const answers = countedAnswers(samples, classes);
  return `${opening}the answer is ${answers}. True class: ${classes[truth]}.`;
}

// --- What is drawn

function noiseLayers({ layers }, blobs) {
  return layers
    .filter(({ kind }) => kind === "gaussian noise")
    .map(({ sigma }) => ({ shape: sigma.shape, sigma: decodeTensor(sigma, blobs).map(Math.abs) }));
}

// The ink goes from the smallest to the largest sigma of the layer, and pales with less noise.
function noiseView(frame, { shape, sigma }, number) {
  const canvas = tileCanvas();
  const heading = panel(frame, "", canvas).firstChild;
  const [low, high] = [Math.min, Math.max].map((of) => sigma.reduce((a, b) => of(a, b)));
  const place = (value) => (high > low ? 0.1 + (0.9 * (value - low)) / (high - low) : 0.5);
  const neurons = shape.length === 1 ? `${shape[0]} neurons` : `${shape[0]} feature maps`;
  return (scale) => {
    const range = `σ ${shortNumber(scale * low)} to ${shortNumber(scale * high)}`;
    heading.textContent = `Noise ${number}: ${neurons}, ${range}`;
    canvas.ariaLabel = `The noise of each of the ${neurons}: ${range}`;
    drawTiles(canvas, Array.from(sigma, (value) => Math.min(1, scale) * place(value)), shape);
  };
}

function accuracyView(frame, { scales, accuracies, images }) {
  const svg = svgElement("svg");
  panel(frame, `Accuracy on ${images.length} images`, svg);
  const high = Math.sqrt(scales.at(-1)); // roots give the small multiples room
  const tick = (value) => ({ value: Math.sqrt(value), text: shortNumber(value) });
  return (scale) => {
    const points = scales
      .filter((other) => accuracies.has(other))
      .map((other) => [Math.sqrt(other), accuracies.get(other)]);
    const here = accuracies.has(scale) ? [[Math.sqrt(scale), accuracies.get(scale)]] : [];
    const ends = [0, 1, scales.at(-1)].filter((value, i, all) => all.indexOf(value) === i);
    drawChart(svg, {
      x: { label: "multiple of learned noise", low: 0, high, ticks: ends.map(tick) },
      y: {
        low: 0,
        high: 1,
        ticks: [0, 0.5, 1].map((value) => ({ value, text: `${100 * value}%` })),
      },
      series: [
        { points, draw: "line" },
        { points: here, draw: "dots", isNew: true, size: 9 },
      ],
      description: points.map(([root, share]) =>
        `${percentage(share)} at ${shortNumber(root * root)} times`).join(", ") || "not yet known",
    });
  };
}

// --- Putting it together

function render({ model, el }) {
  const frame = explorable(model, el, { label: "Learned noise" });
  const blobs = model.get("blobs");
  const description = model.get("network");
  const explorer = {
    ...readPictures(model),
    network: loadNetwork(description, blobs),
    scales: model.get("scales"),
    accuracies: new Map(),
  };
  const maps = noiseLayers(description, blobs).map((layer, i) => noiseView(frame, layer, i + 1));
  const drawAccuracy = accuracyView(frame, explorer);
  const drawAnswer = drawsView(frame, explorer.classes);
  imageChoice(frame, explorer, model.get("num_choices"));
  const { scales } = explorer;
  const format = (scale) => `× ${shortNumber(scale)}`;
  slider(frame, { name: "scale", label: "noise", values: scales, format });
  seedButton(frame, "New noise");

  function update() {
    const names = ["scale", "image", "seed", "num_samples"];
    const state = Object.fromEntries(names.map((name) => [name, model.get(name)]));
    forgetOtherSeeds(explorer, state.seed);
    for (const map of maps) map(state.scale);
    drawAccuracy(state.scale);
    inSlices(frame, noiseSteps(state, explorer, (result) => {
      drawAnswer(result);
      drawAccuracy(state.scale);
      say(frame, noiseSentence(state, result, explorer));
    }));
  }

  listen(frame, ["scale", "image", "seed"], () => nextFrame(frame, update));
  update();
  return frame.close;
}

export default { render };
