// The twin of `latent_plane` in images.py.
function explorer({ mu, log_var: logVar, eps, decoder }) {
  const decode = network(decoder);
  return ({ way, draw, spread }) => {
    const between = (ends, i) => (1 - way) * row(ends, 0)[i] + way * row(ends, 1)[i];
    const z = [0, 1].map((i) => between(mu, i) + spread * Math.exp(between(logVar, i) / 2) * row(eps, draw)[i]);
    return { point: [[z[0]], [z[1]]], picture: decode(z).map(sigmoid) };
  };
}
