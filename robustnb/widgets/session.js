// Networks, side by side, that start from the same weights and see the same batches. What becomes
// of them follows from the settings and the number of steps alone.

import { buildDefence, firstWeights, meanAnswers, trainer } from "./defences.js";
import { randomGenerator } from "./network.js";
import { ballPlaces, inAllBalls, pointSet } from "./plane.js";

const BATCH = 50;
const NUM_DRAWS = 8; // of a network that draws its answers
const RECORD_EVERY = 25;

// `settings`: points, own, num_points, seed, norm, eps, lr and the numbers of each defence.
export function startSession(defences, settings) {
  const { seed } = settings;
  const data = pointSet(settings.points, settings.own, settings.num_points, seed);
  const weights = firstWeights(randomGenerator(seed + 1));
  const places = ballPlaces(settings.norm);
  return {
    ...data,
    step: 0,
    batches: batches(data, randomGenerator(seed + 2)),
    inBalls: inAllBalls(data.points, settings.eps, places),
    numPlaces: places.length,
    seed,
    sides: defences.map((defence, side) => {
      const network = buildDefence(defence, weights, settings);
      const train = trainer(network, randomGenerator(seed + 3 + side), settings);
      return { defence, network, train, losses: [], records: [], measured: null, shaded: null };
    }),
  };
}

// Goes through the points again and again, in a new order each time.
function* batches({ points, labels }, random) {
  const order = Array.from(labels, (_, i) => i);
  for (;;) {
    shuffle(order, random);
    for (let start = 0; start < order.length; start += BATCH) {
      const chosen = order.slice(start, start + BATCH);
      yield {
        x: Float64Array.from(chosen.flatMap((i) => [points[2 * i], points[2 * i + 1]])),
        labels: Uint8Array.from(chosen, (i) => labels[i]),
      };
    }
    if (order.length === 0) yield { x: new Float64Array(0), labels: new Uint8Array(0) };
  }
}

// Fisher and Yates.
function shuffle(items, random) {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor((i + 1) * random.uniform());
    [items[i], items[j]] = [items[j], items[i]];
  }
}

// Trains until `step` steps after the start; every so often it records how good the networks are.
// It may be left at any yield, and another call goes on from there.
export function* trainTo(session, step) {
  for (;;) {
    if (session.step % RECORD_EVERY === 0) yield* recordSteps(session);
    if (session.step >= step) return;
    const { x, labels } = session.batches.next().value;
    for (const { train, losses } of session.sides) {
      if (labels.length > 0) losses.push(train(x, labels));
    }
    session.step += 1;
    yield;
  }
}

function* recordSteps(session) {
  if (session.sides[0].records.at(-1)?.step === session.step) return;
  yield* measureSteps(session);
  for (const { measured, losses, records } of session.sides) {
    const { step, clean, robust } = measured;
    records.push({ step, clean, robust, loss: mean(losses) });
    losses.length = 0;
  }
}

function mean(values) {
  return values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

// Measures both networks as they are, unless that is done.
export function* measureSteps(session) {
  for (const side of session.sides) {
    if (side.measured?.step !== session.step) side.measured = yield* measure(session, side);
  }
}

// Which points are right, and which balls are right at every place of their grid.
function* measure({ step, labels, inBalls, numPlaces, seed }, { network }) {
  const answers = yield* meanAnswers(network, inBalls, NUM_DRAWS, seed);
  const isRight = (i) => (answers[i] > 0.5 ? 1 : 0) === labels[Math.floor(i / numPlaces)];
  const rightPoints = Array.from(labels, (_, i) => isRight(i * numPlaces)); // a ball's first place
  const rightBalls = Array.from(labels, (_, i) =>
    Array.from({ length: numPlaces }, (_, k) => i * numPlaces + k).every(isRight));
  const share = (list) => list.filter(Boolean).length / Math.max(1, list.length);
  return { step, rightPoints, rightBalls, clean: share(rightPoints), robust: share(rightBalls) };
}

// Finds the probability of class 1 at these points.
export function* shadeSteps({ step, seed }, side, centres) {
  const shade = yield* meanAnswers(side.network, centres, NUM_DRAWS, seed);
  const unsure = shade.filter((p) => p > 0.1 && p < 0.9).length / shade.length;
  side.shaded = { step, shade, unsure };
}

// The mean level of the noise that a network learns, or null.
export function noiseLevel({ network }) {
  const levels = network.layers.flatMap(({ parameters }) =>
    parameters.filter(({ name }) => name === "sigma").flatMap(({ value }) => [...value]));
  return mean(levels);
}
