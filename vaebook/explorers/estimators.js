// The twin of estimators.py: the noise is drawn anew from the seed, 819,200 numbers, once.
function explorer({ seed, estimates, draws: most, dimensions, range: [low, high, bars] }) {
  const width = dimensions.at(-1);
  const eps = normals(seed, estimates * most * width);
  const rows = new Float64Array(estimates * most).map((_, i) => i * width);
  const scores = rows.map((start) => eps[start]);
  // f of the first coordinates, for each dimension that can be chosen.
  const valuesIn = new Map(
    dimensions.map((dimension) => [dimension, rows.map((start) => sumOfSquares(eps, start, dimension))]),
  );

  function estimate(column, draws, values, leaveOneOut) {
    const end = draws * estimates;
    let [total, all] = [0, 0];
    for (let i = column; i < end; i += estimates) total += values[i];
    for (let i = column; i < end; i += estimates) {
      const subtracted = leaveOneOut ? (total - values[i]) / (draws - 1) : 0;
      all += (values[i] - subtracted) * scores[i];
    }
    return all / draws;
  }

  return ({ draws, dimension, baseline }) => {
    const values = valuesIn.get(dimension);
    const leaveOneOut = baseline === "leave-one-out";
    const found = Array.from({ length: estimates }, (_, i) => estimate(i, draws, values, leaveOneOut));
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
  for (let i = start; i < start + dimension; i++) total += square(1 + eps[i]);
  return total;
}
