// The twin of posterior.py.
function explorer({ std, grid: line, drawn, height, q, starts, step }) {
  const { grid, spacing, scored } = curve({ std, grid: line });
  const at = (values) => drawn.map((i) => values[i]);
  const across = at(grid);
  const columns = q.shape[1];
  return ({ first, second }) => {
    const { likelihood, posterior, evidence } = scored([first, second]);
    const likelihoods = at(likelihood);
    const top = Math.max(...likelihoods);
    const [i, j] = [first, second].map((value, axis) => Math.round((value - starts[axis]) / step));
    const [mean, width] = row(q, i * columns + j);
    const logQ = grid.map((z) => normalLogDensity(z, mean, width));
    const kl = spacing * sum(logQ.map((value, i) => Math.exp(value) * (value - posterior[i])));
    return {
      point: [[first], [second]],
      likelihood: [across, likelihoods.map((value) => height * Math.exp(value - top))],
      posterior: [across, at(posterior).map(Math.exp)],
      guess: [across, at(logQ).map(Math.exp)],
      title: `log p(x) = ${evidence.toFixed(2)}, KL of q from the posterior ${kl.toFixed(2)} nats`,
    };
  };
}
