// Active time: how long somebody worked with the pair, the chat's answers or the text on the screen. It counts while the
// tab is visible and the last pointer, key or scroll is at most a minute ago; annotate/labeling/attention.py says what
// the server makes of it.
(() => {
  const IDLE_AFTER_MS = 60_000;
  const SIGNS = ["pointerdown", "pointermove", "keydown", "scroll", "wheel", "touchmove", "input"];

  /** Adds up stretches of activity; all times are milliseconds of one clock that never goes backwards. */
  class ActiveTime {
    constructor(now, seconds = 0) {
      this.counted = seconds * 1000;
      this.sign(now);
    }

    /** The person did something. */
    sign(now) {
      this.settle(now);
      this.from = now;
      this.until = now + IDLE_AFTER_MS;
    }

    /** The tab is out of sight: what follows does not count until the next sign. */
    pause(now) {
      this.settle(now);
      this.until = now;
    }

    settle(now) {
      this.counted += Math.max(0, Math.min(now, this.until ?? now) - (this.from ?? now));
      this.from = now;
    }

    seconds(now) {
      this.settle(now);
      return Math.round(this.counted / 100) / 10;
    }
  }

  const now = () => performance.now();
  const task = () => document.querySelector("[data-key][data-active]");
  let time = null;
  let key = null;
  let shownAt = now(); // a pair that was fetched ahead is on the screen before the server knows

  // A new pair begins at nothing; a page that is loaded again goes on from what the server knows.
  function begin() {
    const shown = task();
    if (key !== shown?.dataset.key) shownAt = now();
    if (!shown) time = null;
    else if (!time || key !== shown.dataset.key) time = new ActiveTime(now(), Number(shown.dataset.active) || 0);
    key = shown?.dataset.key;
    if (time && document.visibilityState !== "visible") time.pause(now());
  }

  const isVisible = () => document.visibilityState === "visible";
  for (const name of SIGNS) {
    document.addEventListener(name, () => isVisible() && time?.sign(now()), { capture: true, passive: true });
  }
  document.addEventListener("visibilitychange", () => (isVisible() ? time?.sign(now()) : time?.pause(now())));
  document.addEventListener("htmx:afterSettle", begin);

  // Goes along with the judgment, with every renewal of the reservation and with every draft of a text.
  document.addEventListener("htmx:configRequest", (event) => {
    if (!time || !event.detail.elt.matches?.("#judge, #keep-reserved, #completion")) return;
    event.detail.parameters.set("active_seconds", String(time.seconds(now())));
    event.detail.parameters.set("open_seconds", String((now() - shownAt) / 1000));
  });

  // And with a form that is sent as browsers do.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!time || form.hasAttribute("hx-post") || !form.matches("#judge, #write")) return;
    let field = form.elements.namedItem("active_seconds");
    if (!field) {
      field = Object.assign(document.createElement("input"), { type: "hidden", name: "active_seconds" });
      form.append(field);
    }
    field.value = String(time.seconds(now()));
  });

  begin();
})();
