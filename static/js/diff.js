// The words in which two responses differ, marked in both alike. The rendered text is compared, not its source, so
// lists, code and formulas keep their look; a formula counts as one word.
(() => {
  const CHOICE = "prefloop-diff";
  // Beyond this the comparison would be felt: some 9,000 words on either side.
  const MOST_STEPS = 8e7;
  const WORD = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{M}\p{N}_'’]+|[^\s]/gu;

  /** Words of a rendered text in order: {text, node, from, to}, or {text, element} for a formula. */
  function wordsOf(root) {
    const words = [];
    const filter = (node) => {
      if (node.parentElement.closest("math")) return NodeFilter.FILTER_REJECT;
      return node.nodeType === Node.TEXT_NODE || node.localName === "math" ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP;
    };
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT, filter);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.nodeType === Node.ELEMENT_NODE) words.push({ text: node.textContent, element: node });
      else for (const hit of node.data.matchAll(WORD)) words.push({ text: hit[0], node, from: hit.index, to: hit.index + hit[0].length });
    }
    return words;
  }

  /** Lengths of the longest common subsequences of a[from..to) with every prefix of b[low..high); `back`: suffixes. */
  function lengths(a, b, from, to, low, high, back) {
    let row = new Uint32Array(high - low + 1);
    for (let i = 0; i < to - from; i++) {
      const word = back ? a[to - 1 - i] : a[from + i];
      let diagonal = 0;
      for (let j = 1; j < row.length; j++) {
        const above = row[j];
        const other = back ? b[high - j] : b[low + j - 1];
        row[j] = word === other ? diagonal + 1 : Math.max(above, row[j - 1]);
        diagonal = above;
      }
    }
    return row;
  }

  /** Which words of `a` and `b` belong to a longest common subsequence: Hirschberg (1975), in linear memory. */
  function common(a, b) {
    const inA = new Uint8Array(a.length);
    const inB = new Uint8Array(b.length);
    const look = (from, to, low, high) => {
      while (from < to && low < high && a[from] === b[low]) inA[from++] = inB[low++] = 1;
      while (from < to && low < high && a[to - 1] === b[high - 1]) inA[--to] = inB[--high] = 1;
      if (from === to || low === high) return;
      if (to - from === 1) {
        const place = b.indexOf(a[from], low);
        if (place >= 0 && place < high) inA[from] = inB[place] = 1;
        return;
      }
      const middle = (from + to) >> 1;
      const before = lengths(a, b, from, middle, low, high, false);
      const after = lengths(a, b, middle, to, low, high, true);
      let best = 0;
      for (let j = 1; j <= high - low; j++) {
        if (before[j] + after[high - low - j] > before[best] + after[high - low - best]) best = j;
      }
      look(from, middle, low, low + best);
      look(middle, to, low + best, high);
    };
    look(0, a.length, 0, b.length);
    return [inA, inB];
  }

  /** A single shared word between two changes is chance more often than meaning: it joins them. */
  function withoutIslands(shared) {
    return shared.map((same, i) => same && !(i > 0 && i < shared.length - 1 && !shared[i - 1] && !shared[i + 1]) ? 1 : 0);
  }

  /** Marks what is not shared; neighbouring words of one piece of text get one mark, with the space between them. */
  function mark(words, shared) {
    const stretches = [];
    words.forEach((word, i) => {
      if (shared[i]) return;
      if (word.element) return word.element.classList.add("differs");
      const last = stretches.at(-1);
      if (last && last.node === word.node && last.next === i) Object.assign(last, { to: word.to, next: i + 1 });
      else stretches.push({ node: word.node, from: word.from, to: word.to, next: i + 1 });
    });
    // From the end, so that the places before stay where they are.
    for (const { node, from, to } of stretches.reverse()) {
      const range = document.createRange();
      range.setStart(node, from);
      range.setEnd(node, to);
      const element = document.createElement("mark");
      element.className = "differs";
      range.surroundContents(element);
    }
  }

  function unmark(root) {
    for (const element of root.querySelectorAll("mark.differs")) element.replaceWith(...element.childNodes);
    for (const element of root.querySelectorAll("math.differs")) element.removeAttribute("class");
    root.normalize();
  }

  const texts = () => [...document.querySelectorAll("#task .response .prose")];
  const button = () => document.getElementById("diff-toggle");

  function show(on) {
    const pair = texts();
    if (pair.length !== 2) return;
    pair.forEach(unmark);
    button().setAttribute("aria-pressed", String(on));
    const said = document.getElementById("diff-said");
    said.textContent = "";
    if (!on) return;
    const words = pair.map(wordsOf);
    const [a, b] = words.map((side) => side.map((word) => word.text));
    if (a.length * b.length > MOST_STEPS) {
      said.textContent = said.dataset.tooLong;
      return;
    }
    const shared = common(a, b).map((side) => withoutIslands([...side]));
    words.forEach((side, i) => mark(side, shared[i]));
    const differing = shared.flat().filter((same) => !same).length;
    const share = Math.round((100 * differing) / Math.max(1, a.length + b.length));
    said.textContent = said.dataset.said.replace("NN", share);
  }

  function toggle() {
    const on = button().getAttribute("aria-pressed") !== "true";
    prefloop.remember(CHOICE, on);
    show(on);
  }

  function begin() {
    if (!button()) return;
    if (prefloop.recall(CHOICE)) show(true);
  }

  document.addEventListener("action", (event) => {
    if (event.detail.name !== "diff" || !button()) return;
    event.preventDefault();
    toggle();
  });
  document.addEventListener("click", (event) => event.target.closest?.("#diff-toggle") && toggle());
  document.addEventListener("htmx:afterSettle", (event) => event.detail.elt?.id === "task" && begin());
  begin();
})();
