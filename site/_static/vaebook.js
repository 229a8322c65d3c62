"use strict";
// The search shows the text around what it found, which it fetches; a browser does not fetch from file://.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// What scrolls sideways must be reachable by keyboard. The theme sees to code and tables, this to the rest.
const scrollers = document.querySelectorAll(".formula, .measured pre");
const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) {
      target.tabIndex = 0;
      target.setAttribute("role", "group");
      target.setAttribute("aria-label", target.matches(".formula") ? "Formula" : "Figures");
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) target.removeAttribute(name);
    }
  }
});
const observe = () => scrollers.forEach((element) => observer.observe(element));
// Widths are right only when the fonts of the formulas are there.
document.fonts.ready.then(observe);
