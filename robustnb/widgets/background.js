// Long work away from the page's own thread: the same module, loaded once more in a worker.

import { inSlices, showBusy } from "./controls.js";

const SLICE_THERE = 16; // milliseconds of work, after which a worker looks for newer work

// `read` makes from the named traits what the work needs, and the generator `steps(state, made, show)`
// does it and shows results of plain data. Returns a function that takes a frame to one that starts
// work; newer work ends the older. Where there is no worker, the page's own thread does it in slices.
export function inBackground(work) {
  if (typeof document === "undefined") serve(work);
  return (frame) => {
    let made = null;
    let newest = null;
    const here = () => {
      made ??= work.read(frame.model);
      inSlices(frame, work.steps(newest.state, made, newest.show));
    };
    const there = startWorker(frame, work, {
      show: (number, result) => number === newest?.number && newest.show(result),
      end: (number) => number === newest?.number && setRunning(frame, null),
      fail: () => newest && here(),
    });
    return (state, show) => {
      newest = { state, show, number: (newest?.number ?? 0) + 1 };
      if (!there.worker) return here();
      setRunning(frame, newest);
      return there.worker.postMessage({ state, number: newest.number });
    };
  };
}

function setRunning(frame, work) {
  frame.steps = work;
  showBusy(frame);
}

// Only a page without a kernel has workers, and some viewers of such pages allow none.
function startWorker({ model, endings }, { traits }, { show, end, fail }) {
  const there = { worker: newWorker(model) };
  if (!there.worker) return there;
  const { worker } = there;
  worker.onmessage = ({ data: { number, result } }) => (result ? show(number, result) : end(number));
  worker.onerror = (event) => {
    event.preventDefault();
    there.worker = null;
    fail();
  };
  worker.postMessage({ traits: Object.fromEntries(traits.map((name) => [name, model.get(name)])) });
  endings.push(() => worker.terminate());
  return there;
}

function newWorker(model) {
  try {
    return model.newWorker?.() ?? null;
  } catch {
    return null;
  }
}

// --- In the worker

function serve({ read, steps }) {
  let made = null;
  let newest = 0;

  async function run({ state, number }) {
    newest = number;
    let start = performance.now();
    const work = steps(state, made, (result) => postMessage({ number, result }));
    while (!work.next().done) {
      if (performance.now() - start < SLICE_THERE) continue;
      await new Promise((resolve) => setTimeout(resolve));
      if (newest !== number) return;
      start = performance.now();
    }
    postMessage({ number });
  }

  globalThis.onmessage = ({ data }) => {
    if (data.traits) made = read({ get: (name) => data.traits[name] });
    else run(data);
  };
}
