// What this browser remembers for its person, as JSON. Where storage is blocked or full nothing is remembered, and
// nothing breaks.
window.prefloop = {
  remember(name, value) {
    try {
      localStorage.setItem(name, JSON.stringify(value));
    } catch {
      // As said above.
    }
  },

  recall(name) {
    try {
      return JSON.parse(localStorage.getItem(name));
    } catch {
      return null;
    }
  },

  forget(name) {
    try {
      localStorage.removeItem(name);
    } catch {
      // As said above.
    }
  },
};
