// Gives an explorer on a page without a kernel the model that Jupyter would give it.
function start(el, { state, buffers }, render) {
  for (const { path, data } of buffers) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const parent = path.slice(0, -1).reduce((part, key) => part[key], state);
    parent[path.at(-1)] = bytes;
  }
  const model = {
    get: (name) => state[name],
    set: (name, value) => (state[name] = value),
    on: () => {},
    off: () => {},
    save_changes: () => {},
  };
  render({ model, el }).catch((problem) => {
    el.textContent = "This explorer needs a newer browser. The figure above shows one of its states.";
    console.warn(problem);
  });
}
