// Stands in for Jupyter where no kernel runs: it gives a widget's module the model it expects.

// The part of anywidget's model that modules use. The state lives in the page and nowhere else.
function staticModel(state) {
  let listeners = [];

  function emit(event, ...details) {
    for (const listener of listeners) {
      if (listener.event === event) listener.callback(...details);
    }
  }

  const model = {
    get: (name) => state[name],

    // set(name, value) or set({ name: value, ... })
    set(names, value) {
      const changes = typeof names === "object" ? names : { [names]: value };
      const changed = Object.keys(changes).filter((name) => state[name] !== changes[name]);
      Object.assign(state, changes);
      for (const name of changed) emit(`change:${name}`, model, state[name]);
      if (changed.length > 0) emit("change", model);
    },

    on(events, callback) {
      const added = events.split(" ").map((event) => ({ event, callback }));
      listeners = [...listeners, ...added];
    },

    once(event, callback) {
      const first = (...details) => {
        model.off(event, first);
        callback(...details);
      };
      model.on(event, first);
    },

    // Without an event or a callback, all of them are meant.
    off(event, callback) {
      listeners = listeners.filter(
        (listener) =>
          (event && listener.event !== event) || (callback && listener.callback !== callback),
      );
    },

    save_changes() {},
    send() {},
  };
  return model;
}

// Renders into the element above the script; should that fail, the picture there stays.
async function mount(script, render) {
  const [el, state] = script.parentElement.querySelectorAll(
    ":scope > div, :scope > script[type='application/json']",
  );
  const fallback = [...el.childNodes];
  el.replaceChildren();
  try {
    await render({ model: staticModel(JSON.parse(state.textContent)), el });
  } catch (error) {
    el.replaceChildren(...fallback);
    throw error;
  }
}
