// Long responses beside each other scroll in boxes of their own: together, each at the same share of its text, or apart.
(() => {
  const CHOICE = "prefloop-scroll-apart";
  // From this many windows on a response is long; what is a bit longer than the window scrolls with the page.
  const LONG = 1.5;
  const beside = matchMedia("(min-width: 48.01rem) and (min-height: 30.01rem)");

  const pair = () => document.querySelector("#task:not(.ranking) .pair");
  const boxes = () => [...document.querySelectorAll("#task:not(.ranking) .pair > .response")];
  const button = () => document.getElementById("link-toggle");
  let led = null;

  /** Long texts beside each other get boxes that scroll; the measure is taken without them. */
  function settle() {
    if (!pair()) return;
    pair().classList.remove("boxed");
    const long = beside.matches && boxes().length > 1 && boxes().some((box) => box.scrollHeight > innerHeight * LONG);
    pair().classList.toggle("boxed", long);
    for (const box of boxes()) {
      if (long) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
    if (!button()) return;
    button().hidden = !long;
    button().setAttribute("aria-pressed", String(!prefloop.recall(CHOICE)));
  }

  const room = (box) => box.scrollHeight - box.clientHeight;

  function follow(leader) {
    for (const box of boxes()) {
      if (box === leader) continue;
      const place = Math.round((leader.scrollTop / Math.max(1, room(leader))) * room(box));
      // Its own scroll event says nothing about the person.
      if (Math.abs(box.scrollTop - place) > 1) {
        led = box;
        box.scrollTop = place;
      }
    }
  }

  document.addEventListener(
    "scroll",
    (event) => {
      const box = event.target;
      if (!box.matches?.(".pair.boxed > .response") || prefloop.recall(CHOICE)) return;
      if (box === led) led = null;
      else follow(box);
    },
    { capture: true, passive: true },
  );

  function toggle() {
    const apart = button().getAttribute("aria-pressed") === "true";
    prefloop.remember(CHOICE, apart);
    button().setAttribute("aria-pressed", String(!apart));
    if (!apart) follow(boxes()[0]);
  }

  document.addEventListener("action", (event) => {
    if (event.detail.name !== "link_scroll" || !button() || button().hidden) return;
    event.preventDefault();
    toggle();
  });
  document.addEventListener("click", (event) => event.target.closest?.("#link-toggle") && toggle());
  document.addEventListener("htmx:afterSettle", (event) => event.detail.elt?.id === "task" && settle());
  beside.addEventListener("change", settle);
  settle();
})();
