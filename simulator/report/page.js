// Everything can be read without this; it only finds tests in a long list.
"use strict";
const form = document.getElementById("filter");
const tests = Array.from(document.querySelectorAll("details.test"));
const texts = tests.map((test) => test.querySelector("summary").textContent.toLowerCase());
const words = document.getElementById("words");
const verdict = document.getElementById("verdict");
const shown = document.getElementById("shown");
function show() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  tests.forEach((test, place) => {
    const fits = (!verdict.value || test.dataset.verdict === verdict.value)
      && wanted.every((word) => texts[place].includes(word));
    test.hidden = !fits;
    if (fits) count += 1;
  });
  shown.textContent = count + " of " + tests.length + " shown";
}
if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  words.addEventListener("input", show);
  verdict.addEventListener("change", show);
  show();
}
