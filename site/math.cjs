// All formulas of the site in one go: a JSON list of [TeX, is it displayed] from standard input, out come the HTML
// of each, or what is wrong with it, and the style sheet for all. The folder of MathJax is the only argument.
const fs = require("fs");
const formulas = JSON.parse(fs.readFileSync(0, "utf8"));

require(`${process.argv[2]}/node-main.js`)
  .init({
    // assistive-mml puts MathML beside each formula, which is what a screen reader reads.
    loader: { load: ["input/tex-full", "output/chtml", "a11y/assistive-mml"] },
    tex: {
      packages: { "[-]": ["noundefined"] }, // an unknown command is an error, not a red word
      formatError: (jax, error) => {
        throw error;
      },
    },
    chtml: { fontURL: "mathjax" },
    startup: { typeset: false },
  })
  .then((MathJax) => {
    const { adaptor } = MathJax.startup;
    const html = formulas.map(([tex, display]) => {
      try {
        return { html: adaptor.outerHTML(MathJax.tex2chtml(tex, { display })) };
      } catch (error) {
        return { error: error.message };
      }
    });
    process.stdout.write(JSON.stringify({ html, css: adaptor.textContent(MathJax.chtmlStylesheet()) }));
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
