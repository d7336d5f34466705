// What is said about a pair and not saved yet, of the last pairs of all tabs: a reload, a failed request, a session that
// ended or another tab loses neither the choice nor the words.
prefloop.drafts = (() => {
  const NAME = "prefloop-drafts";
  const MOST = 20;

  const form = () => document.getElementById("judge");
  const key = () => form()?.closest("[data-key]")?.dataset.key;
  const all = () => prefloop.recall(NAME) ?? [];
  const others = (key) => all().filter((draft) => draft.key !== key);

  function save() {
    if (!key()) return;
    const said = [...new FormData(form())].filter(([name, value]) => value && form().elements[name]?.type !== "hidden");
    prefloop.remember(NAME, [{ key: key(), values: said }, ...others(key())].slice(0, MOST));
  }

  function restore() {
    const draft = key() && all().find((one) => one.key === key());
    if (!draft) return;
    const written = new Map(draft.values);
    const chosen = new Set(draft.values.map(([name, value]) => `${name}=${value}`));
    for (const field of form().elements) {
      if (!field.name || field.form !== form() || field.type === "hidden") continue;
      if (field.type === "radio" || field.type === "checkbox") field.checked = chosen.has(`${field.name}=${field.value}`);
      else field.value = written.get(field.name) ?? "";
    }
    form().dispatchEvent(new Event("restored", { bubbles: true }));
  }

  const forget = (key) => key && prefloop.remember(NAME, others(key));

  document.addEventListener("input", (event) => event.target.form && event.target.form === form() && save());

  return { save, restore, forget };
})();
