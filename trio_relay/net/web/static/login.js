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

if (button && window.nostr) {
  button.disabled = false;
  button.addEventListener("click", login);
} else if (button) {
  // Extensions may come a moment later than the page.
  addEventListener("load", () => {
    if (window.nostr) {
      button.disabled = false;
      button.addEventListener("click", login);
    } else {
      failed.textContent = "No extension with a key (NIP-07) is there.";
    }
  });
}
