// The curves of a plot, as the server draws them: one line for each stretch without a gap.

const SVG = "http://www.w3.org/2000/svg";

export function curves(plot) {
  return plot.lines.flatMap((line, place) => line.segments.map((corners) => {
    const drawn = document.createElementNS(SVG, "polyline");
    drawn.setAttribute("class", `line-${place + 1}`);
    drawn.setAttribute("points", corners);
    return drawn;
  }));
}
