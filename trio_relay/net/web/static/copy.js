// Gives each text that is good for copying a button that does it.

for (const element of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break; // where the page is not secure
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(element.dataset.copy);
    button.textContent = "Copied";
  });
  element.after(" ", button);
}
