// The labeling page: actions, the guidelines panel, the reservation, and what to do when a request fails.
// Everything here is convenience: the page works without it.
(() => {
  const SLOW_AFTER_MS = 300;

  const { remember, recall, drafts } = prefloop;
  // What this script says stands in the page, in the language of the page.
  const part = (name) => document.getElementById("words").content.querySelector(`[data-word="${name}"]`);
  const word = (name) => part(name).textContent;
  const task = () => document.getElementById("task");
  const judge = () => document.getElementById("judge");
  const key = () => task()?.dataset.key;
  const panel = () => document.getElementById("guidelines");

  // ---- keys: keys.js says which action a key means --------------------------------------------------------------
  function submitJudgment() {
    const form = judge();
    if (form && !form.classList.contains("htmx-request")) form.requestSubmit(form.querySelector(".actions > .primary"));
  }

  function rate(value) {
    const radio = judge().querySelector(`[name=rating][value="${value}"]`);
    if (!radio) return;
    radio.checked = true;
    radio.focus({ preventScroll: true });
    radio.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function toggleSkip() {
    const skip = document.querySelector(".skip");
    if (!skip) return;
    skip.open = !skip.open;
    if (skip.open) skip.querySelector("[name=reason]").focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form === judge()) {
      event.preventDefault();
      submitJudgment();
    }
  });

  document.addEventListener("action", (event) => {
    const { name, target } = event.detail;
    if (!judge()) return;
    const inSkip = Boolean(document.querySelector(".skip")?.contains(target));
    if (name.startsWith("rate_") && !inSkip) rate(name.slice("rate_".length));
    else if (name === "submit" && !inSkip) submitJudgment();
    else if (name === "skip") toggleSkip();
    else if (name === "note") judge().querySelector("[name=note]").focus();
    else if (name === "guidelines") togglePanel();
    else return;
    event.preventDefault();
  });

  // ---- the guidelines panel keeps its place ------------------------------------------------------------------
  const panelName = () => `prefloop-guidelines-${document.querySelector(".workspace").dataset.project}`;

  function rememberPanel() {
    const body = panel().querySelector(".guidelines-body");
    remember(panelName(), { version: panel().dataset.version, open: !panel().hidden, top: body?.scrollTop ?? 0 });
  }

  function showPanel(open) {
    const place = recall(panelName());
    panel().hidden = !open;
    document.getElementById("guidelines-toggle")?.setAttribute("aria-expanded", String(open));
    if (open && place?.version === panel().dataset.version) {
      panel().querySelector(".guidelines-body").scrollTop = place.top;
    }
  }

  function togglePanel() {
    if (!panel()?.dataset.version) return;
    if (!panel().hidden) rememberPanel();
    showPanel(panel().hidden);
    rememberPanel();
    if (panel().hidden) document.getElementById("guidelines-toggle").focus({ preventScroll: true });
  }

  // Opened by itself the first time and when they changed; otherwise as this person left it.
  function settlePanel() {
    if (!panel()?.dataset.version) return;
    const place = recall(panelName());
    const known = place?.version === panel().dataset.version;
    showPanel(known ? place.open : "new" in panel().dataset);
    panel().querySelector(".guidelines-body").addEventListener("scroll", rememberPanel, { passive: true });
  }

  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.("#guidelines-toggle, [data-close-guidelines]");
    if (!opener || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    togglePanel();
  });

  // ---- what a request does -----------------------------------------------------------------------------------
  /** Says why `form` was not saved, by the name of a word, with a button that sends it again. */
  function complain(why, form, status = 0) {
    const place = document.getElementById("form-error");
    if (!place) return;
    const box = document.createElement("div");
    box.className = "notice error";
    const text = document.createElement("div");
    text.textContent = `${word(why)} ${why === "broken" ? `(${status}) ` : ""}${word("kept")}`;
    const retry = document.createElement("button");
    retry.type = "button";
    retry.textContent = word("again");
    retry.addEventListener("click", () => sendAgain(form));
    box.append(...part("icon").cloneNode(true).children, text, retry);
    if (why === "signed-out") text.after(...part("sign-in").cloneNode(true).children);
    if (why === "unreachable" && form.id === "judge") box.dataset.unsent = "";
    place.replaceChildren(box);
  }

  const sendAgain = (form) => (form.id === "judge" ? submitJudgment() : form.requestSubmit());

  document.addEventListener("input", (event) => {
    if (event.target.form === judge()) delete document.querySelector("#form-error > [data-unsent]")?.dataset.unsent;
  });
  // Back in the network: what was to be sent goes, unless its person has changed it since.
  addEventListener("online", () => document.querySelector("#form-error > [data-unsent]") && submitJudgment());

  // The second half of a double click has arrived at the next pair.
  document.addEventListener("click", (event) => {
    if (event.detail > 1 && event.target.closest?.("#judge .actions > .primary")) event.preventDefault();
  });

  const isSend = (event) => event.detail.elt?.matches?.("#judge, #skip");

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!isSend(event)) return;
    document.getElementById("form-error").replaceChildren();
    const form = event.detail.elt;
    setTimeout(() => form.classList.contains("htmx-request") && form.classList.add("slow"), SLOW_AFTER_MS);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!isSend(event)) return;
    event.detail.elt.classList.remove("slow");
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    // A refused one (422) stays a draft.
    if (event.detail.requestConfig?.elt.matches("#judge, #skip") && event.detail.xhr.status < 300) drafts.forget(key());
  });
  // What ahead.js sends by itself.
  document.addEventListener("sent", (event) => {
    drafts.forget(event.detail.key);
  });
  document.addEventListener("send-failed", (event) => {
    const { form, status, slow } = event.detail;
    drafts.save();
    complain(status ? whyOf(status) : slow ? "slow" : "unreachable", form, status);
  });
  document.addEventListener("htmx:sendError", (event) => {
    if (isSend(event)) complain("unreachable", event.detail.elt);
  });
  document.addEventListener("htmx:timeout", (event) => {
    if (isSend(event)) complain("slow", event.detail.elt);
  });
  document.addEventListener("htmx:responseError", (event) => {
    const { elt, xhr } = event.detail;
    if (isSend(event)) complain(whyOf(xhr.status), elt, xhr.status);
  });

  function whyOf(status) {
    const cookiesAreGone = status === 403 && !document.cookie.includes("csrftoken=");
    if (status === 401 || cookiesAreGone) return "signed-out";
    return { 403: "forbidden", 502: "busy", 503: "busy", 504: "busy", 507: "full" }[status] ?? "broken";
  }

  // ---- the next pair -----------------------------------------------------------------------------------------
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target?.id === "task" || event.detail.elt?.id === "task") {
      drafts.restore();
      // For screen readers; not when a quick hand is in the new pair already.
      if (!task().contains(document.activeElement)) task().focus({ preventScroll: true });
    }
    if (event.detail.elt?.id === "guidelines") settlePanel();
  });

  // ---- the reservation is renewed while somebody looks at the page ---------------------------------------------
  let renewedAt = Date.now();
  function renew() {
    const keeper = document.getElementById("keep-reserved");
    if (!keeper || document.visibilityState !== "visible") return;
    if (Date.now() - renewedAt < Number(keeper.dataset.every) * 1000) return;
    renewedAt = Date.now();
    htmx.trigger(keeper, "renew");
  }
  setInterval(renew, 5000);
  document.addEventListener("visibilitychange", renew);

  drafts.restore();
  settlePanel();
})();
