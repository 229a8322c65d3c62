// The twin of `code_plane` in images.py.
function explorer({ codes, decoder }) {
  const decode = network(decoder);
  const n = codes.shape[0];
  return ({ first, second }) => {
    let [distance, nearest] = [Infinity, 0];
    for (let i = 0; i < n; i++) {
      const between = Math.hypot(codes[2 * i] - first, codes[2 * i + 1] - second);
      if (between < distance) [distance, nearest] = [between, i];
    }
    const there = row(codes, nearest);
    return {
      line: [[first, there[0]], [second, there[1]]],
      point: [[first], [second]],
      picture: decode([first, second]).map(sigmoid),
      title: `distance to the nearest code ${distance.toFixed(2)}`,
    };
  };
}
