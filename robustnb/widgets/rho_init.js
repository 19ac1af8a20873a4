// The weight draws of Bayesian networks, one for each rho_init, and the average of their answers.

// --- What is computed

// Yields, then returns the class probabilities of every draw.
function* drawSteps({ rho_init: rho, num_samples: count, image, seed }, { networks, images }) {
  const { network } = networks.find(({ rho_init: other }) => other === rho);
  const draws = [];
  for (const logits of drawLogits(network, images[image], count, randomGenerator(seed))) {
    draws.push(softmax(logits));
    yield;
  }
  return draws;
}

// The average after one draw, after two, and so on.
function runningMeans(draws) {
  const sum = new Float64Array(draws[0].length);
  return draws.map((draw, i) => {
    draw.forEach((probability, label) => {
      sum[label] += probability;
    });
    return Array.from(sum, (total) => total / (i + 1));
  });
}

function accuracyAt({ rho_init: rho, num_samples: count }, { networks, counts }) {
  const { accuracies } = networks.find(({ rho_init: other }) => other === rho);
  return accuracies[counts.indexOf(count)];
}

// --- What is said

function signed(value) {
  return String(value).replace("-", "−");
}

function plural(count) {
  return count === 1 ? "1 draw" : `${count} draws`;
}

const NAMED = 3; // answers of single draws

// "7 in 64, 1 in 20, 9 in 10, others in 6"
function leadingAnswers(draws, classes) {
  const counts = new Array(classes.length).fill(0);
  for (const draw of draws) counts[largestIndex(draw)] += 1;
  const order = counts.map((_, i) => i).filter((i) => counts[i]);
  order.sort((one, two) => counts[two] - counts[one]);
  const named = order.slice(0, NAMED).map((i) => `${classes[i]} in ${counts[i]}`);
  const others = order.slice(NAMED).reduce((total, i) => total + counts[i], 0);
  return [...named, ...(others ? [`others in ${others}`] : [])].join(", ");
}

function rhoSentence(state, { draws, means, truth }, explorer) {
  const { classes, images } = explorer;
  const mean = means.at(-1);
  const top = largestIndex(mean);
  const share = percentage(accuracyAt(state, explorer));
  const single = draws.length > 1 ? `, single draws: ${leadingAnswers(draws, classes)}` : "";
  return (
    `At rho_init ${signed(state.rho_init)} the mean of ${plural(draws.length)} says ` +
    `${classes[top]} (${percentage(mean[top])})${single}. True class: ${classes[truth]}. ` +
    `Such means are right on ${share} of ${images.length} images.`
  );
}

// As long as the sentence can become: the answers differ, and so may all draws.
function longestRhoSentence(explorer) {
  const { classes, networks, counts } = explorer;
  const draws = Array.from({ length: counts.at(-1) }, (_, i) =>
    classes.map((_, label) => Number(label === i % classes.length)));
  const rhos = networks.map(({ rho_init: rho }) => rho);
  const rho = rhos.find((each) => String(each) === longest(rhos.map(String)));
  const state = { rho_init: rho, num_samples: counts.at(-1) };
  const truth = classes.indexOf(longest(classes));
  return rhoSentence(state, { draws, means: [draws[truth % draws.length]], truth }, explorer);
}

// --- What is drawn: the first `number` of the draws

function newestDrawsView(frame, { classes }) {
  const svg = svgElement("svg");
  const heading = panel(frame, "", svg).firstChild;
  return ({ draws, means, truth }, number) => {
    const isPlaying = number < draws.length;
    heading.textContent = isPlaying
      ? `Draw ${number} of ${draws.length}: outline`
      : "Bars: mean; dots: single draws";
    drawBars(svg, means[number - 1], {
      labels: classes,
      truth,
      dots: draws.slice(0, number),
      outline: isPlaying ? draws[number - 1] : null,
      description: `Single draws: ${leadingAnswers(draws, classes)}.`,
    });
  };
}

const SHARES = [0, 0.5, 1].map((value) => ({ value, text: `${100 * value}%` }));

// Each draw's probability of the true class, and how their average settles.
function averageView(frame, { classes }) {
  const svg = svgElement("svg");
  const heading = panel(frame, "", svg).firstChild;
  return ({ draws, means, truth }, number) => {
    heading.textContent = `Probability of ${classes[truth]}: draws and running mean`;
    const points = (list) => list.slice(0, number).map((each, i) => [i + 1, each[truth]]);
    const count = draws.length;
    drawChart(svg, {
      x: { label: "draws", low: 0, high: count, ticks: wholeTicks(count) },
      y: { label: "", low: 0, high: 1, ticks: SHARES },
      series: [
        { points: points(draws), draw: "dots" },
        { points: points(means), draw: "line", isNew: true },
      ],
      description: `The mean of ${plural(count)} gives it ${percentage(means.at(-1)[truth])}.`,
    });
  };
}

function wholeTicks(count) {
  const values = count > 3 ? [0, Math.round(count / 2), count] : [0, count];
  return values.map((value) => ({ value, text: String(value) }));
}

// The accuracy of all networks with this number of draws, and the one chosen among them.
function accuracyView(frame, explorer) {
  const svg = svgElement("svg");
  const { networks, images } = explorer;
  const heading = panel(frame, "", svg).firstChild;
  const rhos = networks.map(({ rho_init: rho }) => rho);
  const low = 0.1 * Math.floor(9.99 * Math.min(...networks.flatMap((each) => each.accuracies)));
  // Evenly spaced, since most of them lie close together.
  const x = {
    label: "rho_init",
    low: -0.5,
    high: rhos.length - 0.5,
    ticks: rhos.map((rho, place) => ({ value: place, text: signed(rho) })),
  };
  const ticks = [low, (1 + low) / 2, 1].map((value) => ({ value, text: percentage(value) }));
  return (state) => {
    heading.textContent = `Accuracy of ${plural(state.num_samples)}, ${images.length} images`;
    const shares = rhos.map((rho) => accuracyAt({ ...state, rho_init: rho }, explorer));
    const points = [...shares.entries()];
    drawChart(svg, {
      x,
      y: { label: "", low, high: 1, ticks },
      series: [
        { points, draw: "line" },
        { points, draw: "dots" },
        { points: [points[rhos.indexOf(state.rho_init)]], draw: "dots", isNew: true, size: 10 },
      ],
      description: points
        .map(([place, share]) => `${percentage(share)} at ${signed(rhos[place])}`)
        .join(", "),
    });
  };
}

// --- Watching the draws come one by one

const SHORTEST = 40; // milliseconds for a draw
const LONGEST = 250;
const WHOLE = 5000;

// Calls show(1), show(2), ... up to `count`; a second press, or a change, goes to the end at once.
function drawPlayer(frame, show) {
  const label = prefersReducedMotion() ? "Next draw" : "Watch the draws";
  const node = button(frame, { name: "watch", label, press });
  let [timer, number, count] = [0, 0, 0];

  function step() {
    number += 1;
    show(number);
    if (number >= count) stop();
  }

  function stop() {
    clearInterval(timer);
    [timer, number] = [0, 0];
    node.textContent = label;
  }

  function press() {
    if (prefersReducedMotion()) return step();
    if (timer) return finish();
    node.textContent = "Stop";
    timer = setInterval(step, Math.min(LONGEST, Math.max(SHORTEST, WHOLE / count)));
    return step();
  }

  function finish() {
    stop();
    show(count);
  }

  frame.endings.push(stop);
  return (newCount) => {
    count = newCount;
    node.disabled = count < 2;
    finish();
  };
}

// --- Putting it together

function readRhoExplorer(model) {
  const blobs = model.get("blobs");
  const accuracies = model.get("accuracies");
  return {
    ...readPictures(model),
    counts: model.get("sample_choices"),
    networks: model.get("networks").map(({ rho_init: rho, network }, i) => ({
      rho_init: rho,
      network: loadNetwork(network, blobs),
      accuracies: accuracies[i],
    })),
  };
}

function addRhoControls(frame, explorer) {
  const { networks, counts } = explorer;
  const values = networks.map(({ rho_init: rho }) => rho);
  imageChoice(frame, explorer, frame.model.get("num_choices"));
  if (values.length > 1) {
    slider(frame, { name: "rho_init", label: "rho_init", values, format: signed });
  }
  slider(frame, { name: "num_samples", label: "draws", values: counts });
  seedButton(frame, "New draws");
}

function render({ model, el }) {
  const frame = explorable(model, el, { label: "Draws of Bayesian networks" });
  const explorer = readRhoExplorer(model);
  const drawDraws = newestDrawsView(frame, explorer);
  const drawAverage = averageView(frame, explorer);
  const drawAccuracy = accuracyView(frame, explorer);
  let result = null;
  const setPlayer = drawPlayer(frame, (number) => {
    drawDraws(result, number);
    drawAverage(result, number);
  });
  addRhoControls(frame, explorer);
  reserve(frame, [longestRhoSentence(explorer)]);

  function* steps(state) {
    const draws = yield* drawSteps(state, explorer);
    result = { draws, means: runningMeans(draws), truth: explorer.labels[state.image] };
    setPlayer(draws.length);
    drawAccuracy(state);
    say(frame, rhoSentence(state, result, explorer));
  }

  function update() {
    const names = ["rho_init", "num_samples", "image", "seed"];
    inSlices(frame, steps(Object.fromEntries(names.map((name) => [name, model.get(name)]))));
  }

  listen(frame, ["rho_init", "num_samples", "image", "seed"], () => nextFrame(frame, update));
  update();
  return frame.close;
}

export default { render };
