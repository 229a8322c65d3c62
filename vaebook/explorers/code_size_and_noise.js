// The twin of `code_size_and_noise` in images.py.
function explorer({ clean, steps, steps_in_one: stepsInOne, rebuilt, errors, sizes, noises }) {
  return ({ image, code_size: size, noise }) => {
    const shade = Array.from(row(clean, image), (byte) => byte / 255);
    const step = row(steps, image);
    const at = (sizes.indexOf(size) * noises.length + noises.indexOf(noise)) * clean.shape[0] + image;
    return {
      clean: shade,
      given: shade.map((pixel, i) => Math.min(Math.max(pixel + (noise * step[i]) / stepsInOne, 0), 1)),
      rebuilt: Array.from(row(rebuilt, at), (byte) => byte / 255),
      title: `${size} numbers, error ${errors[at].toFixed(1)}`,
    };
  };
}
