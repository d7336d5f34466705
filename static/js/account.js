// A person's settings: a key is chosen by pressing it. Without this file it is typed as a character or as "Enter".
(() => {
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (!field.matches(".key-field input") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") field.value = "↵";
    else if (event.key.length === 1 && event.key !== " ") field.value = event.key.toLowerCase();
    else if (event.key === "Backspace" || event.key === "Delete") field.value = "";
    else return;
    event.preventDefault();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
})();
