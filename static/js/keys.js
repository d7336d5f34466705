// Which key means which action (annotate/web/keys.py), and the overlay that lists them.
// A key that is somebody's becomes the event "action" at the document; who uses it calls preventDefault().
(() => {
  const keys = JSON.parse(document.querySelector("[data-keys]").dataset.keys);
  const actions = new Map(Object.entries(keys).filter(([, key]) => key).map(([action, key]) => [key, action]));
  const help = document.getElementById("keys-help");

  const isWriting = (element) => element.matches("textarea, select, input:not([type=radio], [type=checkbox])");
  const actionOf = (event) => actions.get(event.key.length === 1 ? event.key.toLowerCase() : event.key);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    // Out of a field, so that letters are keys again.
    if (event.key === "Escape" && isWriting(event.target)) event.target.blur();
    if (isWriting(event.target) || document.querySelector("dialog[open]")) return;
    // Enter belongs to a link or button that has the focus.
    if (event.key === "Enter" && event.target.closest("a, button:not(.chip), summary")) return;
    const name = actionOf(event);
    // Enter on a radio button would send its form even where another key was chosen for that.
    if (!name && event.key === "Enter" && event.target.matches("#judge input")) event.preventDefault();
    if (!name) return;
    const asked = new CustomEvent("action", { cancelable: true, detail: { name, target: event.target } });
    if (!document.dispatchEvent(asked)) event.preventDefault();
  });

  document.addEventListener("action", (event) => {
    if (event.detail.name !== "help") return;
    event.preventDefault();
    help.showModal();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#keys-help-open") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      help.showModal();
    }
    // A click beside the overlay lands on the dialog itself.
    if (event.target === help || event.target.closest?.("[data-close-keys]")) help.close();
  });
})();
