// The next pair is fetched and reserved while this one is read, so that a submit shows it at once. The judgment is on its
// way meanwhile; if it cannot be saved, the earlier pair comes back as it was, and what was begun on the next one waits.
(() => {
  const FETCH_AFTER_MS = 400;
  const TIMEOUT_MS = 20_000;
  // A breath of bad network or a restart of the server: sent once more by itself. The same key is stored once.
  const AGAIN_AFTER_MS = 1_200;
  const PASSING = new Set([502, 503, 504]);
  // A request that outlives its page may be this long.
  const KEEPALIVE_BYTES = 60_000;

  const task = () => document.getElementById("task");
  const workspace = document.querySelector(".workspace");
  let ready = null; // the pair behind the one on the screen: { behind, key, node, at }
  let pending = null; // what is being sent: { key, node }
  let waiting = null; // a form that was sent before the one ahead of it had been saved

  const token = () => document.cookie.match(/(?:^|; )csrftoken=([^;]*)/)?.[1] ?? "";
  const post = (url, fields, headers = {}, more = {}) =>
    fetch(url, { method: "POST", body: new URLSearchParams(fields), headers: { "X-CSRFToken": token(), ...headers }, ...more });

  // ---- fetched once the page has settled --------------------------------------------------------------------------
  let timer = null;
  function prepareSoon() {
    clearTimeout(timer);
    timer = setTimeout(() => prepare().catch(() => {}), FETCH_AFTER_MS);
  }

  async function prepare() {
    const { ahead, key } = task()?.dataset ?? {};
    if (!ahead || pending || document.visibilityState !== "visible") return;
    const answer = await post(ahead, { key }, {}, { priority: "low" });
    // Nothing to show ahead, signed out, or another page: the next submit is an ordinary one.
    if (answer.status !== 200 || answer.redirected) return;
    const page = document.createElement("template");
    page.innerHTML = await answer.text();
    const node = page.content.querySelector("#task[data-key]");
    if (!node || task().dataset.key !== key || node.dataset.key === key) return;
    // What was written on it before it had to wait stays.
    const kept = ready?.key === node.dataset.key ? ready.node : node;
    ready = { behind: key, key: node.dataset.key, node: kept, at: Date.now() };
    task().dataset.ready = "";
  }

  // Its reservation stays young.
  setInterval(() => {
    const every = Number(document.getElementById("keep-reserved")?.dataset.every) * 1000;
    if (ready && Date.now() - ready.at > 2 * every) prepare().catch(() => {});
  }, 5000);

  // ---- shown at once ------------------------------------------------------------------------------------------------
  function show(node) {
    task().replaceWith(node);
    htmx.process(node);
    htmx.trigger(node, "htmx:afterSettle", { target: node });
    scrollTo(0, 0);
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    const form = event.detail.elt;
    if (!form.matches?.("#judge, #skip")) return;
    if (pending) {
      event.preventDefault();
      waiting = form;
      return;
    }
    if (ready?.behind !== task().dataset.key) return;
    event.preventDefault();
    const fields = [...event.detail.requestConfig.formData];
    const node = task();
    node.dataset.active = new Map(fields).get("active_seconds") ?? node.dataset.active;
    pending = { key: node.dataset.key, node, form };
    const next = ready;
    ready = null;
    workspace.dataset.saving = "";
    show(next.node);
    send(event.detail.requestConfig.path, [...fields, ["ahead", next.key]], next);
  });

  /** Its answer: { html, failure }, where a failure has a status, or says whether the answer took too long. */
  async function deliver(url, fields) {
    const body = new URLSearchParams(fields).toString();
    const more = { keepalive: body.length < KEEPALIVE_BYTES, signal: AbortSignal.timeout(TIMEOUT_MS) };
    try {
      const answer = await post(url, fields, { "HX-Request": "true" }, more);
      return { html: await answer.text(), failure: answer.ok ? null : { status: answer.status } };
    } catch (error) {
      return { html: "", failure: { slow: error.name === "TimeoutError" } };
    }
  }

  const mayPass = ({ status, slow }) => (status ? PASSING.has(status) : !slow);

  async function send(url, fields, next) {
    let { html, failure } = await deliver(url, fields);
    if (failure && mayPass(failure)) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
      ({ html, failure } = await deliver(url, fields));
    }
    const sent = pending;
    pending = null;
    delete workspace.dataset.saving;
    if (failure) return comeBack(sent, next, failure, html);
    document.dispatchEvent(new CustomEvent("sent", { detail: { key: sent.key } }));
    arrived(html);
  }

  /** The earlier pair is on the screen again, with its words; the next one waits with what was begun on it. */
  function comeBack(sent, next, failure, html) {
    waiting = null;
    const begun = task();
    show(sent.node);
    if (begun.dataset.key === next.key) ready = { ...next, node: begun, at: Date.now() };
    if (failure.status === 422) document.getElementById("form-error").innerHTML = html;
    else document.dispatchEvent(new CustomEvent("send-failed", { detail: { ...failure, form: sent.form } }));
  }

  /** What stands around the pair; or another pair, where the one shown was lost or its person may not go on. */
  function arrived(html) {
    const replaces = /<section id="task"/.test(html);
    htmx.swap(task(), html, { swapStyle: replaces ? "outerHTML" : "none", settleDelay: 0 });
    const form = waiting;
    waiting = null;
    if (form?.isConnected) form.requestSubmit(form.querySelector(".actions > .primary"));
    else prepareSoon();
  }

  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.elt?.id === "task" && ready?.behind !== task()?.dataset.key) prepareSoon();
  });
  document.addEventListener("visibilitychange", () => !ready && prepareSoon());

  // ---- a page that is closed gives it back ----------------------------------------------------------------------------
  addEventListener("pagehide", () => {
    const { release } = task()?.dataset ?? {};
    if (!ready || !release) return;
    navigator.sendBeacon(release, new URLSearchParams({ key: ready.key, csrfmiddlewaretoken: token() }));
    ready = null;
  });
  addEventListener("pageshow", (event) => event.persisted && prepareSoon());

  prepareSoon();
})();
