// Moves the numbers and plots of a page as the relay tells them, without loading it again.

import { curves } from "./plots.js";

const live = document.getElementById("live");
const renewed = document.getElementById("renewed");

function draw(figure, drawing) {
  figure.querySelector("[data-lines]").replaceChildren(...curves(drawing.plot));
  figure.querySelector("[data-top]").textContent = drawing.top;
  figure.querySelectorAll("[data-newest]").forEach((output, place) => {
    output.textContent = drawing.newest[place] ?? "–";
  });
}

const figures = new Map([...live.querySelectorAll("[data-plot]")].map((one) => [one.dataset.plot, one]));
const source = new EventSource(live.dataset.from);
source.addEventListener("message", (event) => {
  const told = JSON.parse(event.data);
  for (const drawing of told.drawings) {
    if (figures.has(drawing.title)) draw(figures.get(drawing.title), drawing);
  }
  const numbers = { ...told.numbers, ...told.depths };
  for (const output of live.querySelectorAll("[data-number]")) {
    output.textContent = numbers[output.dataset.number]?.text ?? "–";
  }
  if (renewed.textContent) renewed.textContent = "";
});

// The session has ended, or the relay was started anew and knows no session: the page asks to log in again.
let opened = false;
source.addEventListener("open", () => { opened = true; });
source.addEventListener("over", () => {
  source.close();
  location.reload();
});
source.addEventListener("error", () => {
  if (opened && source.readyState === EventSource.CLOSED) location.reload();
  else renewed.textContent = "The relay does not answer: these numbers are old.";
});
