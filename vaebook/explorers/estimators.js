// The twin of estimators.py: the noise is drawn anew from the seed, 819,200 numbers, once.
function explorer({ seed, estimates, draws: most, dimensions, range: [low, high, bars] }) {
  const width = dimensions.at(-1);
  const eps = normals(seed, estimates * most * width);
  const rows = Array.from({ length: estimates * most }, (_, i) => i);
  // f of the first coordinates, for each dimension that can be chosen.
  const scores = rows.map((i) => eps[i * width]);
  const valuesIn = new Map();
  for (const dimension of dimensions) {
    valuesIn.set(dimension, rows.map((i) => sumOfSquares(eps, i * width, dimension)));
  }

  function estimate(column, draws, values, leaveOneOut) {
    const own = Array.from({ length: draws }, (_, draw) => draw * estimates + column);
    const total = leaveOneOut ? sum(own.map((i) => values[i])) : 0;
    const subtracted = (value) => (leaveOneOut ? (total - value) / (draws - 1) : 0);
    return mean(own.map((i) => (values[i] - subtracted(values[i])) * scores[i]));
  }

  return ({ draws, dimension, baseline }) => {
    const values = valuesIn.get(dimension);
    const found = rows.slice(0, estimates).map((i) => estimate(i, draws, values, baseline === "leave-one-out"));
    const counts = new Array(bars).fill(0);
    for (const value of found) {
      const part = (Math.min(Math.max(value, low), high) - low) / (high - low);
      counts[Math.min(Math.floor(part * bars), bars - 1)] += 1;
    }
    const centre = mean(found);
    const std = Math.sqrt(sum(found.map((value) => (value - centre) ** 2)) / (estimates - 1));
    const error = std / Math.sqrt(estimates);
    const [noise, all, standard] = [std.toFixed(1), centre.toFixed(2), error.toFixed(2)];
    return {
      bars: counts.map((count) => count / Math.max(...counts)),
      mean: [[centre], [1.1]],
      spread: [[centre - std, centre + std], [1.1, 1.1]],
      title: `noise of one estimate ${noise}; mean of all ${all}, standard error ${standard}`,
    };
  };
}

function sumOfSquares(eps, start, dimension) {
  let total = 0;
  for (let i = start; i < start + dimension; i++) total += (1 + eps[i]) ** 2;
  return total;
}
