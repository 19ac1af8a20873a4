// Points of two classes in the plane, and the balls around them.

import { randomGenerator } from "./network.js";

export const HALF = 2; // the plane goes from -2 to 2 on both sides

// --- Sets of points: { points, labels }, a point being two numbers, its label 0 or 1

const SHAPES = {
  // Two half circles that reach into one another.
  moons(label, random) {
    const angle = Math.PI * random.uniform();
    const [x, y] = [Math.cos(angle), Math.sin(angle)];
    const moon = label ? [1 - x, 0.5 - y] : [x, y];
    return [moon[0] - 0.5, moon[1] - 0.25].map((value) => 1.1 * value + 0.12 * random.normal());
  },

  circles(label, random) {
    const [angle, radius] = [2 * Math.PI * random.uniform(), label ? 0.6 : 1.4];
    const place = [radius * Math.cos(angle), radius * Math.sin(angle)];
    return place.map((value) => value + 0.12 * random.normal());
  },

  // Quadrants, with a gap along the axes.
  XOR(label, random) {
    const [x, y] = [0.25 + 1.35 * random.uniform(), 0.25 + 1.35 * random.uniform()];
    const side = random.uniform() < 0.5 ? -1 : 1;
    return [side * x, label ? -side * y : side * y];
  },

  blobs(label, random) {
    const centre = label ? 0.75 : -0.75;
    return [centre + 0.4 * random.normal(), centre + 0.4 * random.normal()];
  },
};

export function pointSet(kind, own, numPoints, seed) {
  if (kind === "own") return ownPoints(own);
  const random = randomGenerator(seed);
  const labels = Uint8Array.from({ length: numPoints }, (_, i) => i % 2);
  const points = new Float64Array(2 * numPoints);
  labels.forEach((label, i) => points.set(SHAPES[kind](label, random).map(withinPlane), 2 * i));
  return { points, labels };
}

function withinPlane(value) {
  return Math.max(-HALF, Math.min(HALF, value));
}

// --- Points of the reader's own, as a text for the address: "a120,-50b-30,40" is one of class 0 at
// (1.2, -0.5) and one of class 1 at (-0.3, 0.4)

function ownPoints(text) {
  const found = [...text.matchAll(/([ab])(-?\d+),(-?\d+)/g)];
  const inPlane = (hundredths) => withinPlane(Number(hundredths) / 100);
  return {
    points: Float64Array.from(found.flatMap(([, , x, y]) => [inPlane(x), inPlane(y)])),
    labels: Uint8Array.from(found, ([, letter]) => (letter === "a" ? 0 : 1)),
  };
}

export function withPoint(text, label, x, y) {
  return `${text}${"ab"[label]}${Math.round(100 * x)},${Math.round(100 * y)}`;
}

export function withoutLast(text) {
  return text.replace(/[ab][^ab]*$/, "");
}

// --- Grids

// The centres of a picture's pixels, row after row from the top.
export function pixelCentres(side) {
  const at = (i) => HALF * ((2 * i + 1) / side - 1);
  const points = new Float64Array(2 * side * side);
  for (let i = 0; i < side * side; i++) {
    points.set([at(i % side), -at(Math.floor(i / side))], 2 * i);
  }
  return points;
}

const RINGS = 3;

// A ball of radius 1: its centre and rings around it, the last on its edge. Squares have 7 x 7
// places with their corners, discs as many.
export function ballPlaces(norm) {
  const places = [[0, 0]];
  for (let ring = 1; ring <= RINGS; ring++) {
    for (let i = 0; i < 8 * ring; i++) {
      places.push(norm === "linf" ? onSquare(i, ring) : onCircle(i / (8 * ring), ring / RINGS));
    }
  }
  return places;
}

function onSquare(i, ring) {
  const [edge, along] = [Math.floor(i / (2 * ring)), (i % (2 * ring)) - ring];
  const [x, y] = [[along, -ring], [ring, along], [-along, ring], [-ring, -along]][edge];
  return [x / RINGS, y / RINGS];
}

function onCircle(turn, radius) {
  return [radius * Math.cos(2 * Math.PI * turn), radius * Math.sin(2 * Math.PI * turn)];
}

// The places of all balls, ball after ball.
export function inAllBalls(points, eps, places) {
  const result = new Float64Array(points.length * places.length);
  for (let i = 0; i < points.length; i += 2) {
    places.forEach(([x, y], k) => {
      result.set([points[i] + eps * x, points[i + 1] + eps * y], i * places.length + 2 * k);
    });
  }
  return result;
}
