// Asks what the reader expects and keeps it; when asked, says what came out.

import { element } from "./controls.js";

let predictionCount = 0; // radio buttons of one form have a name of their own

function render({ model, el }) {
  const memory = guessMemory(model);
  const status = element("p", { className: "prediction-said", role: "status" });
  const outcome = outcomeFold(model, memory);
  const form = guessForm(model, memory.get(), (guess) => {
    memory.set(guess);
    outcome.open = false;
    sayGuess(model, root, status, guess);
  });
  const root = element("div", { className: "prediction" }, form, status, outcome);
  // In its command mode JupyterLab would take the arrow keys for itself.
  root.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(root);
  if (memory.get()) sayGuess(model, root, status, memory.get());
}

// --- What was said

// A kernel keeps it; without one (a link is offered only then) this tab does, and else the page.
function guessMemory(model) {
  if (!model.link) {
    const set = (guess) => {
      model.set("said", guess);
      model.save_changes();
    };
    return { get: () => model.get("said"), set };
  }
  const key = `robustnb ${location.pathname} ${model.get("question")}`;
  let said = model.get("said");
  return {
    get() {
      try {
        return sessionStorage.getItem(key) ?? said;
      } catch {
        return said; // the browser keeps nothing for this page
      }
    },
    set(guess) {
      said = guess;
      try {
        sessionStorage.setItem(key, guess);
      } catch {
        // as above
      }
    },
  };
}

function sayGuess(model, root, status, guess) {
  const look = element("button", { type: "button" }, `Go to ${model.get("see")}`);
  look.addEventListener("click", () => goTo(nextShown(root)));
  status.replaceChildren(`You said “${guess}”. Now see for yourself, then open “What came out”. `, look);
}

// --- Where to look

const SHOWN = ".static-widget:not(:has(.prediction)), .explorable, .fig, table";

function nextShown(root) {
  const isAfter = (node) =>
    root.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_FOLLOWING;
  return [...document.querySelectorAll(SHOWN)].find(isAfter);
}

function goTo(target) {
  if (!target) return;
  target.tabIndex = -1; // the keyboard goes on from there
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "start" });
}

// --- The form

function guessForm(model, said, keep) {
  const inputs = model.get("within") === null ? radioInputs(model, said) : numberInput(said);
  const title = element("strong", {}, "Predict first. ");
  const legend = element("legend", {}, title, model.get("question"));
  const fieldset = element("fieldset", {}, legend, ...inputs);
  const button = element("button", {}, "Keep my guess");
  const form = element("form", { className: "prediction-form" }, fieldset, button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keep(new FormData(form).get([...form.elements].find(({ name }) => name).name));
  });
  return form;
}

function radioInputs(model, said) {
  const name = `prediction-${predictionCount++}`;
  return model.get("labels").map((value) => {
    const checked = value === said;
    const input = element("input", { type: "radio", name, value, checked, required: true });
    return element("label", {}, input, element("span", {}, value));
  });
}

function numberInput(said) {
  const name = `prediction-${predictionCount++}`;
  const input = element("input", { type: "number", step: "any", name, value: said, required: true });
  return [element("label", {}, element("span", {}, "Your number"), input)];
}

// --- What came out

function outcomeFold(model, memory) {
  const verdict = element("p", { role: "status" });
  const all = element("ul");
  const summary = element("summary", {}, "What came out");
  const fold = element("details", {}, summary, verdict, element("p", {}, model.get("told")), all);
  fold.addEventListener("toggle", () => {
    const guess = fold.open ? memory.get() : "";
    verdict.replaceChildren(...(fold.open ? verdictOn(model, guess) : []));
    all.replaceChildren(...(fold.open && !guess ? allSentences(model) : []));
  });
  return fold;
}

function answerText(model) {
  const answer = model.get("answer");
  return typeof answer === "number" ? String(Number(answer.toPrecision(6))) : answer;
}

function verdictOn(model, guess) {
  const came = element("strong", {}, answerText(model));
  if (!guess) return ["It came out: ", came, "."];
  const place = guessPlace(model, guess);
  const isRight = model.get("within") === null ? guess === model.get("answer") : place === 1;
  const parts = isRight
    ? [`You said “${guess}”, and that is right: it came out `, came]
    : [`You said “${guess}”, but it came out `, came];
  return [...parts, ". ", model.get("sentences")[place]];
}

// The place of a guess among the sentences: its choice, or 0, 1, 2 for below, near, above.
function guessPlace(model, guess) {
  const within = model.get("within");
  if (within === null) return model.get("labels").indexOf(guess);
  const gap = Number(guess) - model.get("answer");
  const slack = 1e-9 * Math.abs(model.get("answer")); // 0.3 - 0.1 is no more than 0.2
  return Math.abs(gap) <= within + slack ? 1 : gap < 0 ? 0 : 2;
}

function allSentences(model) {
  const isNumber = model.get("within") !== null;
  return model.get("labels").map((label, place) => {
    const name = element("em", {}, isNumber ? `A number ${label} that` : label);
    return element("li", {}, name, `: ${model.get("sentences")[place]}`);
  });
}

export default { render };
