// The charts of a run: asks for the numbers that are new whenever the page's live part has moved, and draws them.
(() => {
  const holder = document.getElementById("charts");
  if (!holder) return;

  const HEIGHT = 224;
  const points = new Map(); // name -> Map(step -> value)
  const plots = new Map(); // figure -> uPlot
  let last = 0; // the number of the newest event that we have
  let asking = false;

  const colour = (name) => getComputedStyle(holder.querySelector(`.chart-colours .${name}`)).color;

  const withThousands = new Intl.NumberFormat(document.documentElement.lang, { maximumSignificantDigits: 4 });
  function readable(value) {
    if (value == null) return "–";
    if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1);
    return withThousands.format(value);
  }

  function store(series) {
    for (const [name, curve] of Object.entries(series)) {
      if (!points.has(name)) points.set(name, new Map());
      curve.steps.forEach((step, index) => points.get(name).set(step, curve.values[index]));
    }
  }

  /** [steps, values of the first name, …] for the figure's names that have numbers; null where one has none. */
  function table(names) {
    const steps = [...new Set(names.flatMap((name) => [...points.get(name).keys()]))].sort((a, b) => a - b);
    return [steps, ...names.map((name) => steps.map((step) => points.get(name).get(step) ?? null))];
  }

  /** The legend tells the newest values while no pointer asks for others. */
  function showNewest(plot) {
    if (plot.cursor.idx == null) plot.setLegend({ idx: plot.data[0].length - 1 }, false);
  }

  function options(figure, names) {
    const axis = { stroke: colour("axis"), grid: { stroke: colour("grid"), width: 1 }, ticks: { stroke: colour("grid") } };
    const labels = JSON.parse(figure.dataset.labels);
    return {
      width: figure.querySelector(".plot").clientWidth,
      height: HEIGHT,
      scales: { x: { time: false } },
      cursor: { y: false, sync: { key: "run" }, points: { size: 7 } },
      hooks: { setCursor: [showNewest] },
      axes: [
        { ...axis, label: holder.dataset.step, labelSize: 20, size: 36, font: "12px system-ui", labelFont: "12px system-ui" },
        {
          ...axis, label: figure.dataset.unit, labelSize: 20, size: 60, font: "12px system-ui", labelFont: "12px system-ui",
          values: (_plot, ticks) => ticks.map(readable),
        },
      ],
      series: [
        { label: holder.dataset.step },
        ...names.map((name, index) => ({
          label: labels[name],
          stroke: colour(`series-${index + 1}`),
          width: 2,
          dash: index ? [6, 4] : undefined, // told apart by more than the colour
          spanGaps: true,
          points: { show: points.get(name).size < 30, size: 5 },
          value: (_plot, value) => readable(value),
        })),
      ],
    };
  }

  function draw(figure, afresh) {
    const names = figure.dataset.names.split(" ").filter((name) => points.get(name)?.size);
    if (!names.length) return;
    const place = figure.querySelector(".plot");
    if (!place.clientWidth) return; // folded away: drawn when it opens
    const existing = plots.get(figure);
    if (existing && !afresh && existing.series.length === names.length + 1) {
      existing.setData(table(names));
      showNewest(existing);
      return;
    }
    existing?.destroy();
    plots.set(figure, new uPlot(options(figure, names), table(names), place));
    showNewest(plots.get(figure));
  }

  /** Shows every figure that has numbers before the first is drawn: how wide each is depends on its neighbours. */
  function unfold() {
    for (const figure of document.querySelectorAll("figure.chart[hidden]")) {
      if (!figure.dataset.names.split(" ").some((name) => points.get(name)?.size)) continue;
      figure.hidden = false;
      figure.closest("details")?.removeAttribute("hidden");
    }
  }

  function drawAll(afresh = false) {
    unfold();
    for (const figure of document.querySelectorAll("figure.chart")) draw(figure, afresh);
    fit();
    const empty = document.getElementById("charts-empty");
    if (empty) empty.hidden = [...points.values()].some((known) => known.size);
  }

  async function ask(after) {
    const answer = await fetch(`${holder.dataset.url}?after=${after}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return answer.json();
  }

  async function refresh() {
    const newest = Number(document.getElementById("run-live").dataset.last);
    if (asking || newest <= last) return;
    asking = true;
    try {
      let news = await ask(last);
      if (news.restarted) {
        // It went on from an earlier checkpoint: what came after that is forgotten here too.
        news = await ask(0);
        points.clear();
      }
      last = news.last;
      store(news.series);
      drawAll();
    } catch {
      // The next look, a second later, asks again.
    } finally {
      asking = false;
    }
  }

  document.addEventListener("htmx:afterSettle", refresh);
  addEventListener("themechange", () => drawAll(true));
  for (const fold of document.querySelectorAll("details.charts-more")) fold.addEventListener("toggle", () => drawAll());

  function fit() {
    for (const [figure, plot] of plots) {
      const room = figure.querySelector(".plot").clientWidth;
      if (room && room !== plot.width) plot.setSize({ width: room, height: HEIGHT });
    }
  }

  let width = holder.clientWidth;
  new ResizeObserver(() => {
    if (holder.clientWidth === width) return;
    width = holder.clientWidth;
    fit();
  }).observe(holder);

  refresh();
})();
