// Logs in by the key that an extension of the browser has (NIP-07): it signs an event for this one request (NIP-98).

const button = document.getElementById("login");
const failed = document.getElementById("failed");

async function login() {
  failed.textContent = "";
  try {
    const event = await window.nostr.signEvent({
      kind: 27235,
      created_at: Math.floor(Date.now() / 1000),
      tags: [["u", button.dataset.url], ["method", "POST"], ["payload", button.dataset.payload]],
      content: "",
    });
    const bytes = new TextEncoder().encode(JSON.stringify(event));
    const answer = await fetch(button.dataset.to, {
      method: "POST",
      headers: { Authorization: "Nostr " + btoa(String.fromCharCode(...bytes)) },
      body: "login",
    });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    location.assign(told.to);
  } catch (error) {
    failed.textContent = String(error.message || error);
  }
}

function offer() {
  button.disabled = !window.nostr;
  document.getElementById("extension").hidden = Boolean(window.nostr);
}

if (button) {
  button.addEventListener("click", login);
  // Extensions may come a moment later than the page.
  if (document.readyState === "complete" || window.nostr) offer();
  else addEventListener("load", offer);
}
