// The chat: keys, and a draft that this browser keeps while the server is away. The page works without it.
(() => {
  const compose = document.getElementById("compose");
  const judge = () => document.getElementById("judge");

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    const form = event.target.closest("#compose, #judge");
    const send = form?.querySelector("button.primary");
    if (!send) return;
    event.preventDefault();
    form.requestSubmit(send);
  });

  document.addEventListener("action", (event) => {
    const form = judge();
    const rating = event.detail.name.match(/^rate_(\d)$/)?.[1];
    if (!form) return;
    if (rating) {
      const radio = form.querySelector(`[name=rating][value="${rating}"]`);
      if (!radio) return;
      radio.checked = true;
      radio.focus({ preventScroll: true });
      radio.dispatchEvent(new Event("input", { bubbles: true }));
    } else if (event.detail.name === "note") {
      form.elements.note?.focus();
    } else if (event.detail.name === "submit") {
      const send = form.querySelector("button.primary");
      if (send) form.requestSubmit(send);
    } else {
      return;
    }
    event.preventDefault();
  });

  // ---- drafts, until the server has them: of the choice, and of the next turn ----------------------------------------
  document.addEventListener("htmx:afterSettle", prefloop.drafts.restore);
  prefloop.drafts.restore();

  const name = `prefloop-chat-${document.querySelector("[data-chat]").dataset.chat}`;
  // Two answers stand where the composer was: what was sent has arrived.
  if (!compose) return prefloop.forget(name);
  const text = compose.elements.text;
  // What this browser still holds was not taken by the server, so it is newer.
  text.value = prefloop.recall(name) || text.value;
  text.addEventListener("input", () => prefloop.remember(name, text.value));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt === text && event.detail.xhr.status === 204) prefloop.forget(name);
  });
})();
