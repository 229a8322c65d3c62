// The twin of reparameterization.py.
function explorer({ eps, decoder }) {
  const decode = network(decoder);
  const noise = Array.from({ length: eps.shape[0] }, (_, i) => Array.from(row(eps, i)));
  return ({ mu1, mu2, sigma, draw }) => {
    const zs = noise.map(([e1, e2]) => [mu1 + sigma * e1, mu2 + sigma * e2]);
    const z = zs[draw];
    return {
      marked: noise[draw].map((e) => [e]),
      cloud: [zs.map(([z1]) => z1), zs.map(([, z2]) => z2)],
      centre: [[mu1], [mu2]],
      chosen: [[z[0]], [z[1]]],
      line: [[mu1, z[0]], [mu2, z[1]]],
      picture: decode(z).map(sigmoid),
    };
  };
}
