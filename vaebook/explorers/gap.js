// The twin of gap.py; the expectations are those of `expectation` in vaebook.exact.
function explorer({ std, grid, z, points, floor, words }) {
  const { logJoint, scored } = curve({ std, grid });
  const named = Object.entries(points).map(([name, x]) => [name, scored(x).evidence]);
  const evidences = Object.fromEntries(named);
  const steps = Float64Array.from({ length: 2001 }, (_, i) => (i - 1000) / 100);
  const densities = steps.map((t) => Math.exp(-square(t) / 2));
  const total = sum(densities);
  const across = Array.from(z);
  return ({ point, mu, sigma }) => {
    const x = points[point];
    const evidence = evidences[point];
    const ratio = (t) => logJoint(mu + sigma * t, x) - normalLogDensity(mu + sigma * t, mu, sigma);
    const elbo = sum(steps.map((t, i) => (densities[i] / total) * ratio(t)));
    const kl = evidence - elbo;
    const drawn = Math.max(elbo, floor);
    const middle = Math.min((evidence + drawn) / 2, evidence - 0.8);
    return {
      base: [0, floor, 1, drawn - floor],
      gap: [0, drawn, 1, evidence - drawn],
      top: [[-0.1, 1.04], [evidence, evidence]],
      evidence: [`log p(x) ${evidence.toFixed(2)}`, words, evidence],
      kl: [`KL ${kl.toFixed(2)}`, words, middle],
      elbo: [`ELBO ${elbo.toFixed(2)}`, words, Math.max(Math.min(drawn, middle - 0.8), floor + 0.4)],
      posterior: [across, across.map((value) => Math.exp(logJoint(value, x) - evidence))],
      density: [across, across.map((value) => Math.exp(normalLogDensity(value, mu, sigma)))],
    };
  };
}
