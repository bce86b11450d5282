// Flame graphs on request: asks the service for one, waits for it, and puts it into the page.
const liveCaptures = (() => {
  "use strict";
  const ASK_MS = 1000;
  const KINDS = ["waiting", "holding", "wall"]; // whose work waited beside whose code held the GIL
  const NOBODY = {
    waiting: "No thread was seen waiting for the GIL.",
    holding: "No Python code was seen holding the GIL.",
    wall: "No thread was seen at all.",
  };
  const SILENT = "The service does not answer.";
  const PARTS = new Set(["svg", "g", "rect", "text", "tspan", "title"]);
  const WORDS = /^(?:class|style|[xy]|d[xy]|width|height|display|overflow|role|aria-label|data-[a-z]+)$/;

  const find = (id) => document.getElementById(id);
  const form = find("capture");
  const button = form?.querySelector("button");
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

  /** What went wrong, in words for the user; `place` is where a capture is that is in the way. */
  class Trouble extends Error {
    constructor(words, place) {
      super(words);
      this.place = place;
    }
  }

  async function ask(path, options) {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Trouble(SILENT);
    }
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    throw Object.assign(new Trouble(problem.detail ?? `The service answered ${answer.status}.`, problem.running), { answer });
  }

  const placeOf = (id) => `/profiles/${encodeURIComponent(id)}`;

  async function begin(order) {
    const headers = { "Content-Type": "application/json", Accept: "application/json" };
    const answer = await ask("/profiles", { method: "POST", headers, body: JSON.stringify(order) });
    return (await answer.json()).id;
  }

  // Asks until it is over. A service that is busy on its own loop answers late, or not at all for a while.
  async function finished(id) {
    for (;;) {
      try {
        const answer = await ask(placeOf(id), { headers: { Accept: "application/json" } });
        const profile = await answer.json();
        if (profile.state !== "running") return profile;
      } catch (trouble) {
        if (!(trouble instanceof Trouble) || trouble.answer) throw trouble;
        say(`${SILENT} Trying again.`);
      }
      await sleep(ASK_MS);
    }
  }

  function say(words, { isError = false, place } = {}) {
    const said = find("said");
    said.textContent = words;
    said.classList.toggle("error", isError);
    if (place?.startsWith("/profiles/")) said.append(" ", link(place, "See it."));
  }

  function link(place, words) {
    return Object.assign(document.createElement("a"), { href: place, textContent: words });
  }

  // Counts down by the clock of this page: the service is not asked before it can be done.
  async function countDown(seconds) {
    const bar = find("running").querySelector("progress");
    const start = performance.now();
    for (;;) {
      const gone = (performance.now() - start) / 1000;
      if (gone >= seconds) break;
      bar.value = gone / seconds;
      find("left").textContent = `Capturing: ${Math.ceil(seconds - gone)} s left`;
      await sleep(200);
    }
    bar.removeAttribute("value");
    find("left").textContent = "Drawing";
  }

  async function capture(order) {
    button.disabled = true;
    say("");
    try {
      const id = await begin(order);
      find("taken").hidden = true;
      find("running").hidden = false;
      await countDown(order.seconds);
      const profile = await finished(id);
      say("");
      if (profile.state === "failed") throw new Trouble([profile.error ?? "It failed.", profile.remedy].filter(Boolean).join("\n"));
      await show(id, order, profile);
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      say(trouble.message, { isError: true, place: trouble.place });
    } finally {
      find("running").hidden = true;
      button.disabled = false;
    }
  }

  // The graph of the wall clock comes along, and is on the profile's page; here it is shown if it was asked for.
  async function show(id, order, profile) {
    const kinds = KINDS.filter((kind) => profile.graphs?.[kind] && (kind !== "wall" || order.kind === "wall"));
    const graphs = await Promise.all(kinds.map((kind) => graph(id, kind, profile.graphs[kind])));
    const grid = document.createElement("div");
    grid.className = "graphs";
    grid.append(...graphs);
    const told = document.createElement("p");
    told.append(`${order.kind}, ${order.seconds} s at ${order.rate} Hz: `, link(placeOf(id), "all of this profile"));
    find("taken").replaceChildren(told, grid);
    find("taken").hidden = false;
    attachFlames(grid);
  }

  async function graph(id, kind, about) {
    const section = document.createElement("section");
    section.dataset.kind = kind;
    if (!about.samples) {
      section.append(Object.assign(document.createElement("h3"), { textContent: kind }), paragraph(NOBODY[kind]));
      return section;
    }
    const place = `${placeOf(id)}/flamegraph.svg?kind=${kind}`;
    try {
      const answer = await ask(place);
      section.append(drawing(await answer.text()) ?? paragraph("This graph cannot be read."));
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      section.append(paragraph(trouble.message));
    }
    const below = document.createElement("p");
    below.append(link(place, `${kind} alone`));
    section.append(below);
    return section;
  }

  function paragraph(words) {
    return Object.assign(document.createElement("p"), { textContent: words });
  }

  // A graph has names of somebody's functions in it: only shapes and text are taken over, nothing that acts.
  function drawing(markup) {
    const drawn = new DOMParser().parseFromString(markup, "image/svg+xml").querySelector("svg.flame");
    if (!drawn) return null;
    for (const node of [drawn, ...drawn.querySelectorAll("*")]) {
      if (!PARTS.has(node.localName) || node.namespaceURI !== "http://www.w3.org/2000/svg") node.remove();
      else [...node.attributes].filter(({ name }) => !WORDS.test(name)).forEach(({ name }) => node.removeAttribute(name));
    }
    drawn.setAttribute("width", "100%");
    return document.importNode(drawn, true);
  }

  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = new FormData(form);
    capture({ kind: given.get("kind"), seconds: Number(given.get("seconds")), rate: Number(given.get("rate")) });
  });

  // Whether the service takes flame graphs may change with a restart, while this page stays open.
  function offer(isOffered, why) {
    const isHere = isOffered && form !== null;
    if (form) form.hidden = !isHere;
    const no = find("no-captures");
    no.hidden = isHere;
    no.textContent = isOffered ? "Reload this page to take flame graphs." : (why ?? "");
    find("captures").hidden = !isHere && !no.textContent;
  }

  return { offer };
})();
