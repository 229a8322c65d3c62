// What all explorers share: it reads the numbers, builds the controls and the picture, and at every move asks
// the explorer's own script, which follows below it, what the moving artists show. It imports nothing, so that
// a page opened from a disk can run it too. `scene.py` says what the parts of `scene` mean.

const SVG = "http://www.w3.org/2000/svg";
const ARRAYS = { float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array };

function element(tag, attributes, parent, namespace) {
  const made = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

const drawn = (tag, attributes, parent) => element(tag, attributes, parent, SVG);

// --- numbers ---

async function unpack(part) {
  if (part === null || typeof part !== "object") return part;
  if (Array.isArray(part)) return Promise.all(part.map(unpack));
  if (part.bytes) {
    const stream = new Blob([part.bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const array = new ARRAYS[part.dtype](await new Response(stream).arrayBuffer());
    return Object.assign(array, { shape: part.shape });
  }
  const names = Object.keys(part);
  const parts = await Promise.all(names.map((name) => unpack(part[name])));
  return Object.fromEntries(names.map((name, i) => [name, parts[i]]));
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const square = (x) => x * x; // many times as fast as x ** 2
const sum = (xs) => xs.reduce((total, x) => total + x, 0);
const mean = (xs) => sum(xs) / xs.length;
const row = (array, i) => array.subarray(i * array.shape.at(-1), (i + 1) * array.shape.at(-1));

function logSumExp(xs) {
  const top = xs.reduce((a, b) => Math.max(a, b), -Infinity);
  return top + Math.log(xs.reduce((total, x) => total + Math.exp(x - top), 0));
}

function normalLogDensity(x, mean, std) {
  return -square((x - mean) / std) / 2 - Math.log(std) - Math.log(2 * Math.PI) / 2;
}

// Linear layers with a ReLU between each two, from what `rounded` of arrays.py makes of them.
function network(layers) {
  const scaled = layers.map(({ weight, scale, bias }) => {
    const inputs = weight.shape[1];
    return { inputs, bias, weight: Float32Array.from(weight, (w, i) => w * scale[Math.floor(i / inputs)]) };
  });
  return (input) =>
    scaled.reduce((x, { inputs, bias, weight }, layer) => {
      const given = layer ? x.map((value) => Math.max(value, 0)) : Float64Array.from(x);
      return Float64Array.from(bias, (b, unit) => {
        const start = unit * inputs;
        let total = b;
        for (let i = 0; i < inputs; i++) total += weight[start + i] * given[i];
        return total;
      });
    }, input);
}

// The noise of `normals` in arrays.py.
function normals(seed, n) {
  const mixed = (x) => {
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return x ^ (x >>> 15);
  };
  const key = mixed(seed);
  const uniform = (counter) => ((mixed(mixed(counter + 0x9e3779b9) ^ key) >>> 0) + 0.5) / 2 ** 32;
  const noise = new Float64Array(n + (n % 2));
  for (let i = 0; i < n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(uniform(i)));
    const angle = 2 * Math.PI * uniform(i + 1);
    noise[i] = radius * Math.cos(angle);
    noise[i + 1] = radius * Math.sin(angle);
  }
  return noise.subarray(0, n);
}

// The `Curve` of vaebook.exact: the same formulas, on the same grid.
function curve({ std, grid: [low, spacing, n] }) {
  const grid = Float64Array.from({ length: n }, (_, i) => low + i * spacing);
  const [first, second] = [grid.map((z) => 2 * Math.cos(z)), grid.map((z) => Math.sin(2 * z))];
  const prior = grid.map((z) => normalLogDensity(z, 0, 1));
  const constant = -2 * Math.log(std) - Math.log(2 * Math.PI);
  const logLikelihood = (m1, m2, [x1, x2]) =>
    constant - (square(x1 - m1) + square(x2 - m2)) / (2 * square(std));
  const logJoint = (z, x) =>
    normalLogDensity(z, 0, 1) + logLikelihood(2 * Math.cos(z), Math.sin(2 * z), x);
  // On the whole grid: log p(x|z), log p(z|x), and log p(x).
  const scored = (x) => {
    const likelihood = grid.map((_, i) => logLikelihood(first[i], second[i], x));
    const joint = likelihood.map((value, i) => value + prior[i]);
    const evidence = logSumExp(joint) + Math.log(spacing);
    return { likelihood, posterior: joint.map((value) => value - evidence), evidence };
  };
  return { grid, spacing, logJoint, scored };
}

// --- controls ---

// A range, for numbers that have an order, or a list of words. `get` and `set` are in the reader's values;
// `near` is the value on the scale that is nearest to a number.
function control(spec, parent, moved) {
  const id = `vaebook-${Math.random().toString(36).slice(2)}`;
  element("label", { for: id }, parent).textContent = spec.label;
  const words = spec.options?.some((option) => typeof option === "string");
  const input = words ? element("select", { id }, parent) : element("input", { id, type: "range" }, parent);
  input.dataset.control = spec.name;
  const output = element("output", { for: id, "aria-hidden": "true" }, parent);
  const [min, max, step] = spec.options ? [0, spec.options.length - 1, 1] : [spec.min, spec.max, spec.step];
  if (words) spec.options.forEach((option, i) => (element("option", { value: i }, input).textContent = option));
  else Object.assign(input, { min, max, step });
  const get = () => (spec.options ? spec.options[Number(input.value)] : Number(input.value));
  const said = () => {
    if (words) return;
    output.textContent = spec.options ? get() : get().toFixed(spec.digits).replace(/^-(0\.?0*)$/, "$1");
    input.setAttribute("aria-valuetext", output.textContent);
  };
  const set = (value) => {
    input.value = spec.options ? spec.options.indexOf(value) : value;
    said();
  };
  input.addEventListener("input", () => {
    said();
    moved();
  });
  const near = (number) => {
    const on = min + step * Math.round((number - min) / step);
    return Number(Math.min(Math.max(on, min), max).toFixed(spec.digits));
  };
  return { get, set, near };
}

// --- the picture ---

// From data to pixels, and back.
function scale({ log, a, b }) {
  return {
    to: log ? (value) => a * Math.log10(value) + b : (value) => a * value + b,
    from: log ? (pixel) => 10 ** ((pixel - b) / a) : (pixel) => (pixel - b) / a,
  };
}

const short = (pixel) => Math.round(pixel * 100) / 100;

// Each of these makes the parts of one artist and returns the function that moves them.
const ARTISTS = {
  line({ stroke, thick, dashes, marker }, { x, y }, { inside }) {
    const group = drawn("g", {}, inside);
    const look = { fill: "none", stroke, "stroke-width": thick, "stroke-dasharray": dashes.join(" ") };
    const path = drawn("path", { ...look, "stroke-linejoin": "round" }, group);
    const marks = [];
    return ([xs, ys]) => {
      const points = Array.from(xs, (value, i) => [short(x.to(value)), short(y.to(ys[i]))]);
      if (stroke !== "none") path.setAttribute("d", points.length ? `M${points.join("L")}` : "");
      if (!marker) return;
      while (marks.length > points.length) marks.pop().remove();
      while (marks.length < points.length) {
        const { path: d, fill, stroke: edge, thick: width } = marker;
        marks.push(drawn("path", { d, fill, stroke: edge, "stroke-width": width }, group));
      }
      points.forEach((point, i) => marks[i].setAttribute("transform", `translate(${point})`));
    };
  },

  text({ at, size, weight, fill, anchor, centred }, { x, y }, { over }) {
    const look = { "font-size": size, "font-weight": weight, fill, "text-anchor": anchor };
    const text = drawn("text", { ...look, "dominant-baseline": centred ? "central" : "auto" }, over);
    return (shown) => {
      const [words, ...place] = [shown].flat();
      const [left, top] = place.length ? [x.to(place[0]), y.to(place[1])] : at;
      text.textContent = words;
      text.setAttribute("x", short(left));
      text.setAttribute("y", short(top));
    };
  },

  rectangle(spec, axes, { inside }) {
    const rectangles = filled(spec, inside, spec.hatched ? 2 : 1);
    if (spec.hatched) rectangles[1].setAttribute("fill", `url(#${hatching(spec, inside)})`);
    return (shown) => rectangles.forEach((rectangle) => place(rectangle, axes, ...shown));
  },

  bars(spec, axes, { inside }) {
    const rectangles = filled(spec, inside, spec.left.length);
    return (heights) =>
      rectangles.forEach((bar, i) => place(bar, axes, spec.left[i], 0, spec.width[i], heights[i]));
  },

  image({ extent, shape: [height, width], range: [black, white] }, { x, y }, { pixels, size }) {
    const [left, top, right, bottom] = [x.to(extent[0]), y.to(extent[1]), x.to(extent[2]), y.to(extent[3])];
    const canvas = element("canvas", { width, height }, pixels);
    const percent = (part, whole) => `${(100 * part) / whole}%`;
    canvas.style.left = percent(left - size.left, size.width);
    canvas.style.top = percent(top - size.top, size.height);
    canvas.style.width = percent(right - left, size.width);
    canvas.style.height = percent(bottom - top, size.height);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    return (shown) => {
      for (let i = 0; i < shown.length; i++) {
        image.data.fill(Math.round((255 * (shown[i] - black)) / (white - black)), 4 * i, 4 * i + 3);
        image.data[4 * i + 3] = 255;
      }
      context.putImageData(image, 0, 0);
    };
  },
};

function filled({ fill, stroke, thick }, parent, n) {
  const look = { fill, stroke, "stroke-width": thick };
  return Array.from({ length: n }, () => drawn("rect", look, parent));
}

function place(rectangle, { x, y }, left, bottom, width, height) {
  const [x0, x1, y0, y1] = [x.to(left), x.to(left + width), y.to(bottom), y.to(bottom + height)];
  rectangle.setAttribute("x", short(Math.min(x0, x1)));
  rectangle.setAttribute("y", short(Math.min(y0, y1)));
  rectangle.setAttribute("width", short(Math.abs(x1 - x0)));
  rectangle.setAttribute("height", short(Math.abs(y1 - y0)));
}

function hatching({ stroke }, parent) {
  const id = `vaebook-${Math.random().toString(36).slice(2)}`;
  const look = { id, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  drawn("path", { d: "M0 0V7", stroke, "stroke-width": 2 }, drawn("pattern", look, parent));
  return id;
}

// A panel for each of the axes: the picture of what stays, above it the images, above them all that is drawn.
function panels(scene, url, parent) {
  const share = (part, all) => (all > 0 ? (100 * part) / all : 0);
  const [whole, high] = scene.size;
  const images = scene.artists.filter(({ kind }) => kind === "image").length;
  const least = images === scene.panels.length ? 0.42 : 0.6; // so small may text become; images have none
  return scene.panels.map(([left, top, width, height], i) => {
    const panel = element("div", { class: "panel" }, parent);
    panel.style.flex = `${width} 1 ${least * width}px`;
    panel.style.maxWidth = `${width}px`;
    panel.style.aspectRatio = `${width} / ${height}`;
    panel.style.backgroundImage = `url(${url})`;
    panel.style.backgroundSize = `${(100 * whole) / width}% ${(100 * high) / height}%`;
    panel.style.backgroundPosition = `${share(left, whole - width)}% ${share(top, high - height)}%`;
    const pixels = element("div", {}, panel);
    const over = drawn("svg", { viewBox: `${left} ${top} ${width} ${height}` }, panel);
    const [x, y, w, h] = scene.axes[i].box;
    const inside = drawn("svg", { x, y, width: w, height: h, viewBox: `${x} ${y} ${w} ${h}` }, over);
    return { pixels, over, inside, size: { left, top, width, height } };
  });
}

// The pointer moves the artist: anywhere in the axes with a mouse, and with a finger where a touch does not
// scroll the page, which is on the artist itself, or sideways.
function draggable(panel, { x, y }, [, xName, yName], controls, moved) {
  const { over, inside } = panel;
  over.classList.add("draggable");
  const handle = yName && drawn("circle", { r: 26, class: "handle" }, inside);
  let dragging = false;
  const follow = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(over.getScreenCTM().inverse());
    if (xName) controls[xName].set(controls[xName].near(x.from(at.x)));
    if (yName) controls[yName].set(controls[yName].near(y.from(at.y)));
    moved();
  };
  over.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    dragging = event.pointerType === "mouse" || event.target === handle || !yName;
    if (!dragging) return;
    over.setPointerCapture(event.pointerId);
    if (event.pointerType === "mouse") follow(event);
  });
  over.addEventListener("pointermove", (event) => dragging && follow(event));
  for (const end of ["pointerup", "pointercancel"]) over.addEventListener(end, () => (dragging = false));
  over.addEventListener("click", follow);
  return ([xs, ys]) => {
    handle?.setAttribute("cx", short(x.to(xs[0])));
    handle?.setAttribute("cy", short(y.to(ys[0])));
  };
}

// --- all together ---

async function render({ model, el }) {
  const scene = model.get("scene");
  const root = element("div", { class: "vaebook-explorer" }, el);
  root.addEventListener("keydown", (event) => {
    // Jupyter's shortcuts would take the arrow keys away from a control, and delete a cell at d, d.
    if (!(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)) event.stopPropagation();
  });
  const update = explorer(await unpack(model.get("data")));

  const form = element("div", { class: "controls" }, root);
  const card = element("div", { class: "picture", role: "img" }, root);
  const status = element("p", { class: "said", role: "status" }, root);
  card.style.maxWidth = `${scene.size[0]}px`;
  const controls = {};
  for (const spec of scene.controls) controls[spec.name] = control(spec, form, moved);

  const url = URL.createObjectURL(new Blob([scene.background], { type: "image/webp" }));
  const parts = panels(scene, url, card);
  const axes = scene.axes.map(({ x, y }) => ({ x: scale(x), y: scale(y) }));
  const artists = scene.artists.map((spec) => {
    const { name, kind, axes: at } = spec;
    return { name, kind, move: ARTISTS[kind](spec, axes[at], parts[at]) };
  });
  if (scene.drag) {
    const [name] = scene.drag;
    const at = scene.artists.find((spec) => spec.name === name).axes;
    artists.push({ name, move: draggable(parts[at], axes[at], scene.drag, controls, moved) });
  }

  let shown;
  function show() {
    shown = update(values());
    for (const { name, move } of artists) move(shown[name]);
    const words = artists.filter(({ kind }) => kind === "text").map(({ name }) => [shown[name]].flat()[0]);
    card.setAttribute("aria-label", [`${scene.alt}.`, ...words].join(" "));
    status.textContent = words.join(". ");
  }
  function values() {
    return Object.fromEntries(Object.entries(controls).map(([name, { get }]) => [name, get()]));
  }
  function set(wanted) {
    for (const [name, value] of Object.entries(wanted)) controls[name].set(value);
  }
  function moved() {
    show();
    model.set("values", values());
    model.save_changes();
  }
  function told() {
    const wanted = model.get("values");
    if (JSON.stringify({ ...values(), ...wanted }) === JSON.stringify(values())) return;
    set(wanted);
    show();
  }

  set(model.get("values"));
  show();
  model.on("change:values", told);
  // For tests: move the controls, and read what every moving artist was given.
  el.explorer = root.explorer = {
    values,
    set: (wanted) => {
      set(wanted);
      moved();
    },
    state: () => JSON.parse(JSON.stringify(shown, (_, part) => (ArrayBuffer.isView(part) ? [...part] : part))),
  };
  return () => {
    model.off("change:values", told);
    URL.revokeObjectURL(url);
  };
}
