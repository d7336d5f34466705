// What every page shares: the CSRF token stays fresh after a new login, failed requests say so, menus close.
(() => {
  const cookie = (name) => document.cookie.match(`(?:^|; )${name}=([^;]*)`)?.[1];

  // A page left open over a new login holds an old token; the cookie always has the valid one.
  document.addEventListener("htmx:configRequest", (event) => {
    const token = cookie("csrftoken");
    if (!token || event.detail.verb === "get") return;
    event.detail.headers["X-CSRFToken"] = token;
    if (event.detail.parameters.has?.("csrfmiddlewaretoken")) event.detail.parameters.set("csrfmiddlewaretoken", token);
  });

  // Times come in UTC; the reader sees their own, and in the tooltip what was there.
  const language = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;
  const asOwn = (root) => {
    for (const time of root.querySelectorAll("time")) {
      if (!time.textContent.endsWith(" UTC")) continue;
      const withYear = /\d{4}/.test(time.textContent);
      const form = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false };
      time.title = time.textContent;
      time.textContent = new Date(time.dateTime).toLocaleString(language, withYear ? { ...form, year: "numeric" } : form);
    }
  };
  asOwn(document);
  document.addEventListener("htmx:load", (event) => asOwn(event.target.parentNode ?? document));

  // A menu is closed by Escape and by a click elsewhere.
  const openMenus = () => document.querySelectorAll("details.menu[open]");
  document.addEventListener("click", (event) => {
    for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of openMenus()) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // A plain form is sent once: the second click on a slow answer does nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented || form.matches("[hx-post]")) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  // "Are you sure?" only where a click cannot be taken back.
  document.addEventListener(
    "submit",
    (event) => {
      const question = event.submitter?.dataset.confirm;
      if (question && !confirm(question)) {
        event.preventDefault();
        event.stopImmediatePropagation();
      }
    },
    true,
  );
})();
