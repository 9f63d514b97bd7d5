// Copies the relay's address, and moves the numbers and the plot of the front page while somebody looks at it.

import { curves } from "./plots.js";

const EACH_MS = 5000;
const address = document.getElementById("address");
const copy = document.getElementById("copy");
const live = document.getElementById("live");

if (address && copy) {
  copy.hidden = false;
  address.addEventListener("focus", () => address.select());
  copy.addEventListener("click", async () => {
    address.select();
    let copied = false;
    try {
      await navigator.clipboard.writeText(address.value);
      copied = true;
    } catch {
      copied = document.execCommand("copy"); // pages without TLS have no clipboard
    }
    document.getElementById("copied").textContent = copied ? "Copied." : "Selected: copy it by the keyboard.";
  });
}

function draw(svg, plot) {
  svg.replaceChildren(...curves(plot));
  const label = svg.getAttribute("aria-label");
  svg.setAttribute("aria-label", label.replace(/from 0 to .*$/, `from 0 to ${plot.top}`));
}

async function move() {
  if (document.hidden) return;
  try {
    const answer = await fetch(live.dataset.from);
    if (!answer.ok) return;
    const told = await answer.json();
    for (const shown of live.querySelectorAll("[data-number]")) {
      shown.textContent = told.now[shown.dataset.number]?.toLocaleString("en") ?? "–";
    }
    for (const svg of live.querySelectorAll("[data-plot]")) draw(svg, told.plot);
  } catch {
    // The relay is away for a moment: the numbers stay until it is back.
  }
}

if (live) {
  setInterval(move, EACH_MS);
  document.addEventListener("visibilitychange", move);
}
