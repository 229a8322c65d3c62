// The twin of frontier.py: the models' numbers and images come with the page.
function explorer({ betas, places, heights, screens, ends }) {
  const [, height, width] = screens.shape;
  return ({ beta }) => {
    const at = betas.indexOf(beta);
    const [kl, reconstruction] = places[at];
    const [rec, cost, elbo] = [reconstruction, kl, reconstruction - kl].map((nats) => nats.toFixed(1));
    const used = heights[at].filter((nats) => nats > 0.1).length;
    const screen = screens.subarray(at * height * width, (at + 1) * height * width);
    return {
      ring: [[kl], [reconstruction]],
      line: [ends, ends.map((end) => reconstruction + beta * (end - kl))],
      title: `beta ${beta}: ${rec} - ${cost} = ${elbo} nats`,
      bars: heights[at],
      dimensions: `${used} dimensions above 0.1 nats`,
      picture: Array.from(screen, (byte) => byte / 255),
    };
  };
}
