// A picture of the reader's own: drawn, dropped or pasted, and brought to the form of MNIST's.

import { button, drawImage, element, panel } from "./controls.js";

const MNIST_SIDE = 28;
const INK_SIDE = 20; // as long as the longer side of what is written in MNIST
const PAPER = 0.1; // less ink than this is none
const PAD_SIDE = 280;
const STROKE = 22; // as wide as MNIST's strokes are

// --- The form of MNIST's digits

// What is written, scaled to fit 20x20 and put so that its centre of mass is in the middle.
// `ink` has width * height values between 0 and 1. Returns null where nothing is written.
function likeMnist(ink, width, height) {
  const box = inkBox(ink, width, height);
  if (!box) return null;
  const scale = INK_SIDE / Math.max(box.width, box.height);
  const columns = Math.max(1, Math.round(box.width * scale));
  const rows = Math.max(1, Math.round(box.height * scale));
  const small = areaMeans(ink, width, box, columns, rows);
  const [x, y] = massCentre(small, columns, rows);
  const left = insideOf(Math.round((MNIST_SIDE - 1) / 2 - x), MNIST_SIDE - columns);
  const top = insideOf(Math.round((MNIST_SIDE - 1) / 2 - y), MNIST_SIDE - rows);
  const pixels = new Float32Array(MNIST_SIDE * MNIST_SIDE);
  for (let row = 0; row < rows; row++) {
    const place = (top + row) * MNIST_SIDE + left;
    pixels.set(small.subarray(row * columns, (row + 1) * columns), place);
  }
  return pixels;
}

function insideOf(value, most) {
  return Math.min(most, Math.max(0, value));
}

function inkBox(ink, width, height) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[y * width + x] < PAPER) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

// The mean of each of columns * rows equal parts of the box.
function areaMeans(ink, width, box, columns, rows) {
  const across = overlaps(box.width, columns);
  const down = overlaps(box.height, rows);
  const means = new Float32Array(columns * rows);
  down.forEach((lines, row) => {
    across.forEach((places, column) => {
      let sum = 0;
      for (const [y, high] of lines) {
        const start = (box.top + y) * width + box.left;
        for (const [x, wide] of places) sum += high * wide * ink[start + x];
      }
      means[row * columns + column] = (sum * columns * rows) / (box.width * box.height);
    });
  });
  return means;
}

// For each of `parts` equal parts of a line of `length` places: the places in it, and how much of
// each.
function overlaps(length, parts) {
  return Array.from({ length: parts }, (_, part) => {
    const [start, end] = [(part * length) / parts, ((part + 1) * length) / parts];
    const places = [];
    for (let place = Math.floor(start); place < end; place++) {
      places.push([place, Math.min(place + 1, end) - Math.max(place, start)]);
    }
    return places;
  });
}

function massCentre(values, columns, rows) {
  let [mass, x, y] = [0, 0, 0];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const value = values[row * columns + column];
      mass += value;
      x += value * column;
      y += value * row;
    }
  }
  return [x / mass, y / mass];
}

// --- A picture as a text for the address

// Sixteen shades as 1 to f, and runs of up to twenty black pixels as g to z.
export function writtenPicture(pixels) {
  const shades = Array.from(pixels, (pixel) => Math.round(15 * pixel).toString(16)).join("");
  return shades.replace(/0{1,20}/g, (run) => (15 + run.length).toString(36));
}

// Returns null for a text that is no picture of this size.
export function readPicture(text, size = MNIST_SIDE * MNIST_SIDE) {
  if (!/^[1-9a-z]+$/.test(text)) return null;
  const shades = text.replace(/[g-z]/g, (run) => "0".repeat(parseInt(run, 36) - 15));
  if (shades.length !== size) return null;
  return Float32Array.from(shades, (shade) => parseInt(shade, 16) / 15);
}

// --- The pad

// Calls `draw` with the pixels of 28x28 whenever they change, null when all is wiped away. The pad
// begins with the picture `first`, if there is one.
export function drawingPad(frame, first, draw) {
  const canvas = element("canvas", {
    className: "explorable-pad",
    width: PAD_SIDE,
    height: PAD_SIDE,
    role: "img",
    ariaLabel: "Draw a digit here with mouse, finger or pen, or drop or paste a picture.",
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  Object.assign(context, { lineWidth: STROKE, lineCap: "round", lineJoin: "round" });
  panel(frame, "Draw a digit here", canvas);

  const wipe = () => {
    context.fillStyle = "black";
    context.fillRect(0, 0, PAD_SIDE, PAD_SIDE);
  };
  const show = () => draw(likeMnist(inkOf(context), PAD_SIDE, PAD_SIDE));
  followPointer(canvas, (from, to) => {
    context.strokeStyle = "white";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    show();
  });
  takePictures(frame, canvas, (bitmap) => {
    wipe();
    const scale = Math.min(PAD_SIDE / bitmap.width, PAD_SIDE / bitmap.height);
    context.drawImage(bitmap, 0, 0, bitmap.width * scale, bitmap.height * scale);
    whiteOnBlack(context, bitmap.width * scale, bitmap.height * scale);
    show();
  });
  button(frame, {
    name: "wipe",
    label: "Wipe the pad",
    press: () => {
      wipe();
      draw(null);
    },
  });
  wipe();
  if (first) paint(context, first);
}

function paint(context, pixels) {
  const small = element("canvas");
  drawImage(small, pixels, [1, MNIST_SIDE, MNIST_SIDE]);
  context.drawImage(small, 0, 0, PAD_SIDE, PAD_SIDE);
}

function inkOf(context) {
  const { data } = context.getImageData(0, 0, PAD_SIDE, PAD_SIDE);
  return Float32Array.from({ length: PAD_SIDE * PAD_SIDE }, (_, i) => data[4 * i] / 255);
}

// Calls `line` with the two ends of every piece of a stroke, in the pad's own pixels.
function followPointer(canvas, line) {
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = PAD_SIDE / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    line(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = place(event);
    line(last, next);
    last = next;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      last = null;
    });
  }
}

// A picture that is dropped on the pad, or pasted while the pointer or the focus is in the frame.
function takePictures(frame, canvas, take) {
  const takeFirst = async (event, items) => {
    const file = [...items].map((item) => item.getAsFile?.()).find(Boolean);
    if (!file?.type.startsWith("image/")) return;
    event.preventDefault();
    take(await createImageBitmap(file));
  };
  canvas.addEventListener("dragover", (event) => event.preventDefault());
  canvas.addEventListener("drop", (event) => {
    event.preventDefault();
    takeFirst(event, event.dataTransfer.items);
  });
  const paste = (event) => {
    if (frame.root.matches(":hover, :focus-within")) takeFirst(event, event.clipboardData.items);
  };
  document.addEventListener("paste", paste);
  frame.endings.push(() => document.removeEventListener("paste", paste));
}

// Makes a picture grey, and light on dark as MNIST's are: what is at its edge is paper.
function whiteOnBlack(context, width, height) {
  const [columns, rows] = [Math.max(1, Math.floor(width)), Math.max(1, Math.floor(height))];
  const image = context.getImageData(0, 0, columns, rows);
  const grey = Float32Array.from({ length: columns * rows }, (_, i) => {
    const [red, green, blue] = image.data.subarray(4 * i, 4 * i + 3);
    return 0.299 * red + 0.587 * green + 0.114 * blue;
  });
  const edge = grey.filter((_, i) => {
    const [x, y] = [i % columns, Math.floor(i / columns)];
    return x === 0 || y === 0 || x === columns - 1 || y === rows - 1;
  });
  const paper = edge.toSorted()[edge.length >> 1];
  const most = grey.reduce((far, value) => Math.max(far, Math.abs(value - paper)), 1);
  grey.forEach((value, i) => {
    image.data.fill((255 * Math.abs(value - paper)) / most, 4 * i, 4 * i + 3);
  });
  context.putImageData(image, 0, 0);
}
