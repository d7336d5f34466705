// What the labeling form asks beyond the rating: optional verdicts by key, the fold, an improved answer, undo.
// It writes into the form's own fields and says so with "input" events, so that drafts see it.
(() => {
  const form = () => document.getElementById("judge");
  const changed = (field) => field.dispatchEvent(new Event("input", { bubbles: true }));

  // ---- a verdict that is optional is taken back by a second click -------------------------------------------------
  document.addEventListener("pointerdown", (event) => {
    const radio = event.target.closest?.(".criterion label")?.querySelector("input");
    if (radio) radio.dataset.was = radio.checked ? "yes" : "";
  });
  document.addEventListener("click", (event) => {
    const radio = event.target;
    if (!radio.matches?.(".criterion input") || !radio.dataset.was) return;
    radio.checked = false;
    delete radio.dataset.was;
    changed(radio);
  });

  // ---- keys -------------------------------------------------------------------------------------------------------
  const CYCLES = new Set(["helpful", "truthful", "harmless", "confidence"]);

  /** One step on: the first choice, the next …, then none. Returns whether there is such a field. */
  function cycle(name) {
    const radios = [...form().querySelectorAll(`[name="${name}"]`)];
    if (!radios.length) return false;
    const at = radios.findIndex((radio) => radio.checked);
    const next = radios[at + 1];
    if (next) next.checked = true;
    else radios[at].checked = false;
    (next ?? radios[0]).focus({ preventScroll: true });
    changed(radios[0]);
    return true;
  }

  function openFold(field) {
    const fold = form().querySelector(".further");
    if (!fold) return false;
    fold.open = field ? true : !fold.open;
    if (fold.open) (field ?? fold.querySelector("input, textarea")).focus();
    else fold.querySelector("summary").focus({ preventScroll: true });
    return true;
  }

  document.addEventListener("action", (event) => {
    const { name } = event.detail;
    let used = false;
    if (name === "undo") {
      const undo = document.getElementById("undo");
      if (undo) location.assign(undo.href);
      used = Boolean(undo);
    } else if (form() && CYCLES.has(name)) used = cycle(name);
    else if (form() && name === "further") used = openFold();
    else if (form() && name === "improve") {
      const field = document.getElementById("edited");
      used = Boolean(field) && openFold(field);
    }
    if (used) event.preventDefault();
  });

  // ---- an improved answer may start from the one that was chosen ---------------------------------------------------
  function betterText() {
    const rating = form().querySelector("[name=rating]:checked")?.value;
    const best = form().querySelector(".ranks option[value='1']:checked")?.closest("select").name.slice("rank-".length);
    const place = best ?? { 1: 0, 2: 0, 3: 1, 4: 1 }[rating];
    return place === undefined ? undefined : form().querySelectorAll(".response")[place].dataset.text;
  }

  function offerStart() {
    const button = document.getElementById("start-from-better");
    if (!button) return;
    button.hidden = false;
    button.disabled = betterText() === undefined || document.getElementById("edited").value !== "";
  }

  document.addEventListener("input", (event) => {
    if (event.target.form === form()) offerStart();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#start-from-better")) return;
    const field = document.getElementById("edited");
    field.value = betterText();
    changed(field);
    field.focus();
  });
  document.addEventListener("restored", offerStart);
  document.addEventListener("htmx:afterSettle", offerStart);
  offerStart();
})();
