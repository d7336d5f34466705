// Writing: the number of words, Ctrl+Enter, and drafts that outlive a closed tab and a server that is away.
// Everything here is convenience: the page works without it.
(() => {
  const form = document.getElementById("write");
  if (!form) return;
  const answer = form.elements.completion;
  const words = document.getElementById("words");
  const state = document.getElementById("draft-state");
  const fields = [...form.querySelectorAll("[data-draft]")];
  const name = form.dataset.key && `prefloop-writing-${form.dataset.key}`;
  const KEEP_EVERY_MS = 60_000;

  const remember = () => name && prefloop.remember(name, Object.fromEntries(fields.map((field) => [field.name, field.value])));
  const recall = () => (name && prefloop.recall(name)) || {};
  const forget = () => name && prefloop.forget(name);

  // Chinese and Japanese have no spaces: the browser's own segmenter knows what a word is.
  const segmenter = globalThis.Intl?.Segmenter && new Intl.Segmenter(undefined, { granularity: "word" });
  function count(text) {
    if (!segmenter) return text.split(/\s+/).filter(Boolean).length;
    let number = 0;
    for (const part of segmenter.segment(text)) if (part.isWordLike) number += 1;
    return number;
  }

  function showWords() {
    if (!words) return;
    const number = count(answer.value);
    words.textContent = `${number} ${number === 1 ? words.dataset.one : words.dataset.many}`;
  }

  // What this browser holds was not yet taken by the server, so it is newer.
  const held = recall();
  for (const field of fields) if (held[field.name]) field.value = held[field.name];
  if (answer.value !== answer.defaultValue) answer.closest("details")?.setAttribute("open", "");
  showWords();

  form.addEventListener("input", (event) => {
    if (!event.target.matches("[data-draft]")) return;
    remember();
    if (event.target === answer) showWords();
    else keep();
  });

  function keep() {
    if (globalThis.htmx && answer.hasAttribute("hx-post")) htmx.trigger(answer, "keep");
  }

  if (Object.keys(held).length) addEventListener("load", keep);
  // The prompt stays reserved while its page is looked at.
  setInterval(() => document.visibilityState === "visible" && keep(), KEEP_EVERY_MS);

  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector("button.primary"));
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt !== answer || !state) return;
    const { status } = event.detail.xhr;
    const kept = status >= 200 && status < 300;
    if (kept) forget();
    if (status === 401 || status === 403) state.textContent = state.dataset.signedOut;
    else if (status === 422) state.textContent = ""; // the preview says why
    else state.textContent = kept ? state.dataset.kept : state.dataset.failed;
  });
})();
