// The twin of dimension.py. Seen along the columns of W, which are orthonormal, each coordinate of x is its own
// coordinate of z plus noise: densities are products, and W is not needed.
function explorer({ seed, most, runs, truth, eps }) {
  const pixels = truth.length;
  const z = normals(seed, 2 ** most * runs * pixels);

  function logWeights(run, k, d, x, noise, evidence) {
    const tail = sum(x.slice(d).map((value) => normalLogDensity(value, 0, noise))) - evidence;
    const scale = -d * (Math.log(noise) + Math.log(2 * Math.PI) / 2);
    return new Float64Array(k).map((_, draw) => {
      const start = (draw * runs + run) * pixels;
      let squares = 0;
      for (let i = 0; i < d; i++) squares += square(x[i] - z[start + i]);
      return tail + scale - squares / (2 * square(noise));
    });
  }

  return ({ d, draws, noise }) => {
    const k = 2 ** draws;
    const x = Array.from(eps, (e, i) => (i < d ? truth[i] : 0) + noise * e);
    const marginal = (variance) =>
      sum(x.map((value, i) => normalLogDensity(value, 0, Math.sqrt(variance + (i < d ? 1 : 0)))));
    const evidence = marginal(noise ** 2);
    const weights = Array.from({ length: runs }, (_, run) => logWeights(run, k, d, x, noise, evidence));
    const shown = counts(draws);
    const [first] = weights;
    const whole = logSumExp(first);
    const shares = first.map((value) => Math.exp(value - whole)).sort().reverse();
    const seen = 1 / sum(shares.map((share) => share ** 2));
    // p(x)² / E[p(x|z)²]: p(x|z)² is, but for a factor, the likelihood with half the variance.
    const factor = -0.5 * pixels * Math.log(4 * Math.PI * noise ** 2);
    const share = Math.exp(2 * evidence - marginal(noise ** 2 / 2) - factor);
    return {
      ...Object.fromEntries(weights.map((own, run) => [`run${run}`, [shown, estimates(own, shown)]])),
      shares: [shown, at(running(shares), shown)],
      title: `${k} draws; KL(posterior ‖ prior) = ${klFromPrior(x, d, noise).toFixed(1)} nats`,
      worth: `worth ${seen.toFixed(1)} draws; in truth ${rounded(k * share)}`,
    };
  };
}

// Up to 200 numbers of draws, evenly spaced on the logarithmic axis.
function counts(draws) {
  const steps = Array.from({ length: 200 }, (_, i) => Math.round(2 ** ((draws * i) / 199)));
  return [...new Set(steps)];
}

function klFromPrior(x, d, noise) {
  const variance = noise ** 2 / (1 + noise ** 2);
  const means = x.slice(0, d).map((value) => value / (1 + noise ** 2));
  return sum(means.map((m) => (variance + m ** 2 - 1 - Math.log(variance)) / 2));
}

function running(values) {
  let total = 0;
  return values.map((value) => (total += value));
}

const at = (values, shown) => shown.map((k) => values[k - 1]);

// The log of the mean of the first k weights, for each k that is shown.
function estimates(logWeights, shown) {
  let [top, total] = [-Infinity, 0];
  const sums = logWeights.map((value) => {
    if (value > top) [top, total] = [value, total * Math.exp(top - value) + 1];
    else total += Math.exp(value - top);
    return top + Math.log(total);
  });
  return shown.map((k) => sums[k - 1] - Math.log(k));
}

// `rounded` of dimension.py.
function rounded(number) {
  if (number >= 1e-3) return String(Number(number.toPrecision(2)));
  return number.toExponential(0).replace(/e([+-])(\d)$/, "e$10$2");
}
