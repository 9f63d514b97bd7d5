// The moderation queue by single keys: j and k go from event to event, others press a button of the one that is chosen.

const KEPT = "trio-relay-queue";
const queue = document.getElementById("queue");
const articles = [...queue.querySelectorAll("article")];

function chosen() {
  return articles.indexOf(document.activeElement?.closest?.("article"));
}

function choose(place) {
  const found = articles[Math.min(Math.max(place, 0), articles.length - 1)];
  found?.focus();
  found?.scrollIntoView({ block: "nearest" });
}

function types(element) {
  return element.closest("input:not([type=hidden]), textarea, select, [contenteditable]") !== null;
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || types(event.target)) return;
  const place = chosen();
  if (event.key === "j") choose(place + 1);
  else if (event.key === "k") choose(place < 0 ? 0 : place - 1);
  else if (place >= 0) {
    const button = articles[place].querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
    if (button === null) return;
    sessionStorage.setItem(KEPT, String(place));
    button.click();
  } else return;
  event.preventDefault();
});

// After a verdict the page comes anew: go on where it was given.
const kept = sessionStorage.getItem(KEPT);
sessionStorage.removeItem(KEPT);
if (kept !== null) choose(Number(kept));
