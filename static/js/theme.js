// The light or dark theme somebody chose. Loaded in <head> without defer, so that it stands before the first paint.
(() => {
  const root = document.documentElement;
  const KEY = "prefloop-theme";

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // Storage is blocked: the system's wish decides.
    }
  }

  const systemWish = matchMedia("(prefers-color-scheme: dark)");
  const inForce = () => root.dataset.theme || (systemWish.matches ? "dark" : "light");

  if (stored()) root.dataset.theme = stored();
  root.classList.add("js");

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme-toggle");
    if (!button) return;
    button.addEventListener("click", () => {
      root.dataset.theme = inForce() === "dark" ? "light" : "dark";
      try {
        localStorage.setItem(KEY, root.dataset.theme);
      } catch {
        // It holds for this page only.
      }
      dispatchEvent(new Event("themechange"));
    });
  });
  systemWish.addEventListener("change", () => dispatchEvent(new Event("themechange")));
})();
