// Moves the numbers and plots of a page as the relay tells them, without loading it again.

const live = document.getElementById("live");

function draw(svg, plot) {
  const lines = plot.lines.flatMap((line, place) => line.segments.map((corners) => [place + 1, corners]));
  svg.replaceChildren(...lines.map(([place, corners]) => {
    const drawn = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    drawn.setAttribute("class", `line-${place}`);
    drawn.setAttribute("points", corners);
    return drawn;
  }));
}

const source = new EventSource(live.dataset.from);
source.addEventListener("message", (event) => {
  const told = JSON.parse(event.data);
  for (const svg of live.querySelectorAll("[data-plot]")) {
    if (told.plots[svg.dataset.plot]) draw(svg, told.plots[svg.dataset.plot]);
  }
  for (const output of live.querySelectorAll("[data-number]")) {
    output.textContent = told.now[output.dataset.number] ?? "–";
  }
});

// The session has ended, or the relay was started anew and knows no session: the page asks to log in again.
let opened = false;
source.addEventListener("open", () => { opened = true; });
source.addEventListener("over", () => location.reload());
source.addEventListener("error", () => {
  if (opened && source.readyState === EventSource.CLOSED) location.reload();
});
