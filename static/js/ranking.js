// Ranking: a board of ranks to which letters are dragged, tapped or sent by key. The form's select boxes stay the truth.
(() => {
  const DRAG_AFTER_PX = 6;
  const ranks = () => document.querySelector("#judge .ranks");
  const fields = () => [...ranks().querySelectorAll("select")];
  const chips = () => [...ranks().querySelectorAll(".chip")].sort((one, other) => one.dataset.place - other.dataset.place);
  const zone = (rank) => ranks().querySelector(`.board [data-rank="${rank}"]`);
  let current = 0; // the place of the letter that keys move

  // ---- the board shows what the select boxes say --------------------------------------------------------------------
  function says(chip) {
    const rank = fields()[chip.dataset.place].value;
    const words = rank ? ranks().dataset.ranked : ranks().dataset.unranked;
    const said = words.replace("%letter%", chip.dataset.letter).replace("%rank%", rank);
    const equals = rank ? chips().filter((other) => other !== chip && fields()[other.dataset.place].value === rank) : [];
    if (!equals.length) return said;
    const letters = equals.map((other) => other.dataset.letter).join(", ");
    return `${said}, ${ranks().dataset.equals.replace("%letters%", letters)}`;
  }

  function show() {
    const focused = document.activeElement;
    for (const chip of chips()) {
      const home = zone(fields()[chip.dataset.place].value);
      if (chip.parentElement !== home) home.append(chip);
      chip.setAttribute("aria-label", says(chip));
      chip.classList.toggle("current", Number(chip.dataset.place) === current);
    }
    ranks().querySelector(".ranks-clear").hidden = fields().every((field) => !field.value);
    if (focused?.matches?.(".chip")) focused.focus({ preventScroll: true });
  }

  function put(place, rank) {
    const field = fields()[place];
    const before = field.value;
    // Where ranks are not shared, two letters change places: nothing else moves.
    const there = ranks().dataset.shared || !rank ? undefined : fields().find((other) => other.value === rank);
    if (there && there !== field) there.value = before;
    field.value = rank;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    show();
    announce([place, ...(there && there !== field ? [fields().indexOf(there)] : [])]);
  }

  const say = (words) => (document.getElementById("announcer").textContent = words);
  const announce = (places) => say(places.map((place) => says(chips()[place])).join(". "));

  function clear() {
    for (const field of fields()) field.value = "";
    fields()[0].dispatchEvent(new Event("input", { bubbles: true }));
    choose(0);
    say(ranks().dataset.cleared);
  }

  function choose(place, { look = false } = {}) {
    current = place;
    show();
    chips()[place].focus({ preventScroll: true });
    if (look) document.querySelectorAll("#judge .response")[place].scrollIntoView({ block: "nearest" });
  }

  // ---- keys: digits set the rank, arrows move it, Backspace takes it back; J and K go to the next letter --------------
  function key(event) {
    const count = fields().length;
    const rank = Number(fields()[current].value);
    const onChip = event.target.matches(".chip");
    if (/^[1-9]$/.test(event.key) && event.key <= count) {
      chips()[current].focus({ preventScroll: true });
      put(current, event.key);
    } else if (!onChip) return false;
    else if (event.key === "ArrowLeft" && rank > 1) put(current, String(rank - 1));
    else if (event.key === "ArrowRight" && rank < count) put(current, String(rank + 1));
    else if (event.key === "Backspace" || event.key === "Delete") put(current, "");
    else if (event.key === "ArrowDown") choose((current + 1) % count);
    else if (event.key === "ArrowUp") choose((current + count - 1) % count);
    else return event.key === "ArrowLeft" || event.key === "ArrowRight";
    return true;
  }

  const isWriting = (element) => element.matches("textarea, select, input:not([type=radio], [type=checkbox])");
  // Before keys.js: on a ranking digits are ranks.
  document.addEventListener(
    "keydown",
    (event) => {
      if (!ranks() || event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
      if (document.querySelector("dialog[open]") || event.target.closest(".overall")) return;
      if (!key(event)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    true,
  );
  document.addEventListener("action", (event) => {
    const step = { next_response: 1, previous_response: -1 }[event.detail.name];
    if (!step || !ranks()) return;
    event.preventDefault();
    const count = fields().length;
    choose((current + step + count) % count, { look: true });
  });
  document.addEventListener("focusin", (event) => {
    if (!event.target.matches?.(".chip") || Number(event.target.dataset.place) === current) return;
    current = Number(event.target.dataset.place);
    show();
  });

  // ---- pointer: drag a letter to a rank, or tap the letter and then the rank -------------------------------------------
  let drag = null;

  const zoneAt = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest(".board [data-rank]");

  document.addEventListener("pointerdown", (event) => {
    const chip = event.target.closest?.(".chip");
    if (!chip || event.button) return;
    drag = { chip, x: event.clientX, y: event.clientY, moving: false };
    chip.setPointerCapture(event.pointerId);
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moving && Math.hypot(x, y) < DRAG_AFTER_PX) return;
    drag.moving = true;
    drag.chip.classList.add("dragged");
    drag.chip.style.translate = `${x}px ${y}px`;
    for (const place of ranks().querySelectorAll(".over")) place.classList.remove("over");
    zoneAt(event)?.classList.add("over");
  });
  function drop(event) {
    if (!drag) return;
    const { chip, moving } = drag;
    drag = null;
    const target = moving && event.type === "pointerup" ? zoneAt(event) : null;
    chip.classList.remove("dragged");
    chip.style.translate = "";
    for (const place of document.querySelectorAll(".board .over")) place.classList.remove("over");
    if (!moving) return;
    current = Number(chip.dataset.place);
    if (target) put(current, target.dataset.rank);
  }
  document.addEventListener("pointerup", drop);
  document.addEventListener("pointercancel", drop);
  document.addEventListener("click", (event) => {
    if (event.target.closest?.(".ranks-clear")) return clear();
    const chip = event.target.closest?.(".chip");
    if (chip) return choose(Number(chip.dataset.place));
    const target = event.target.closest?.(".board [data-rank]");
    if (target) put(current, target.dataset.rank);
  });

  // ---- a new page, or a draft that came back --------------------------------------------------------------------------
  function settle() {
    if (!ranks() || !ranks().querySelector(".board").hidden) return;
    ranks().querySelector(".ranks-fields").hidden = true;
    ranks().querySelector(".board").hidden = false;
    ranks().querySelector(".ranks-how").hidden = false;
    current = 0;
    show();
  }
  document.addEventListener("restored", () => ranks() && show());
  document.addEventListener("htmx:afterSettle", settle);
  settle();
})();
