// The live page: takes the stream of a service, or of a comparison, and keeps words, table and charts up to date.
(() => {
  "use strict";
  const KEPT_S = 300;
  const LATE_MS = 3000;
  const RETRY_MS = 3000;
  const { isComparison } = liveCharts;
  const COLUMNS = [
    ["rps", liveCharts.rate],
    ["p50_ms", liveCharts.milliseconds],
    ["p99_ms", liveCharts.milliseconds],
    ["failed", liveCharts.rate],
    ...(isComparison ? [["ping_p99_ms", liveCharts.milliseconds]] : [["queued", liveCharts.count], ["active", liveCharts.count]]),
  ];
  const STATES = {
    connecting: "connecting",
    live: "live",
    late: "late",
    lost: "the service does not answer, trying again",
    ended: "ended",
  };

  const find = (id) => document.getElementById(id);
  let points = []; // of the stream
  let windows = []; // those of the trials that have ended
  let workload; // of the trials in the table
  let cells = new Map(); // of the table, by backend
  let heard = 0; // when the stream last said something
  let isIdle = false;
  let source;

  // --- The stream

  // After a break the browser connects again by itself, but not if it was refused.
  function connect() {
    source = new EventSource("/live");
    for (const [name, take] of Object.entries({ hello, runs_on: runsOn, point, note, trial, graph, end })) {
      source.addEventListener(name, (event) => {
        heard = performance.now();
        if (name !== "end") say("live");
        take(JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => {
      say("lost");
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
    });
  }

  function say(state, late = "") {
    const place = find("connection");
    if (place.dataset.state !== state) find("state").textContent = STATES[state];
    place.dataset.state = state;
    find("late").textContent = late;
  }

  // The seconds stand beside what is read aloud: nobody wants to hear each of them.
  function watch() {
    const silent = performance.now() - heard;
    const { state } = find("connection").dataset;
    if ((state === "live" || state === "late") && silent > LATE_MS) say("late", ` by ${Math.round(silent / 1000)} s`);
  }

  // --- What it says

  function hello(said) {
    find("live").hidden = false;
    document.title = `gilscope: ${said.title}`;
    find("title").textContent = said.title;
    runsOn(said);
    find("which").textContent = said.backends.join(", ");
    find("profiles")?.toggleAttribute("hidden", !said.captures);
    liveCaptures.offer(said.captures, said.no_captures);
    showStates(said.states, said.no_states);
    points = said.history.slice(-KEPT_S);
    windows = [];
    workload = undefined;
    fillTable(said.backends);
    liveCharts.begin(said.backends);
    empty("trials", "ended");
    empty("flames", "drawn");
    said.trials.forEach(trial);
    said.graphs.forEach(graph);
    note({ text: said.note ?? "" });
    report(said.report);
    isIdle = !isComparison && !points.some(isBusy);
    find("idle").hidden = !isIdle;
    if (isIdle) explain(said.backends);
    show();
  }

  // Nothing is said of a service before there is one, or where nobody asks it.
  function runsOn({ python, gil }) {
    find("python").textContent = python ? `Python ${python}` : "";
    find("gil").textContent = gil === null ? "" : gil ? "GIL on" : "GIL off";
  }

  function empty(section, list) {
    find(section).hidden = true;
    find(list).replaceChildren();
  }

  function point(said) {
    if (points.length && said.t <= points.at(-1).t) return;
    points.push(said);
    while (points[0].t < said.t - KEPT_S) points.shift();
    if (isIdle && isBusy(said)) {
      isIdle = false;
      find("idle").hidden = true;
    }
    show();
  }

  function note({ text }) {
    find("note").textContent = text;
    find("progress").hidden = !text && find("report").hidden;
  }

  function trial({ text, workload: of, backend, valid, figures }) {
    const item = document.createElement("li");
    item.className = liveCharts.classOf(backend ?? "");
    item.append(element("span", text));
    if (!valid) {
      item.classList.add("invalid");
      item.append(" ", element("strong", "not valid"));
    }
    find("ended").prepend(item);
    find("trials").hidden = false;
    if (!figures) return;
    windows.push(...secondsOf(backend, figures));
    if (workload !== of) fillTable([...cells.keys()]); // backends are compared at one kind of work
    workload = of;
    find("workload").textContent = ` of ${workload}`;
    fillRow(backend, COLUMNS.map(([figure]) => ({ value: figures[figure], isOld: !valid })));
    show();
  }

  // A trial's figures are those of its whole window: a level line over it.
  function secondsOf(backend, { begun, seconds, ...figures }) {
    const moments = [...Array(Math.ceil(seconds)).keys(), seconds];
    return moments.map((second) => ({ t: begun + second, backends: { [backend]: figures } }));
  }

  function graph({ url, title }) {
    const place = own(url);
    if (!place) return;
    const link = Object.assign(document.createElement("a"), { href: place });
    link.append(Object.assign(document.createElement("img"), { src: place, alt: title, loading: "lazy" }));
    const caption = document.createElement("figcaption");
    caption.append(Object.assign(element("a", title), { href: place }));
    const figure = document.createElement("figure");
    figure.append(caption, link);
    find("drawn").append(figure);
    find("flames").hidden = false;
    find("captures").hidden = true; // it says that these will come
  }

  function end(said) {
    source.close();
    say("ended");
    report(said.report);
    // The report is one file, and whoever serves it ends soon: the page becomes the report.
    if (find("report").href) location.replace(find("report").href);
  }

  function report(url) {
    const place = url && own(url);
    find("report").hidden = !place;
    if (place) find("report").href = place;
    find("progress").hidden = !place && !find("note").textContent;
  }

  // Only what this service serves is linked.
  function own(url) {
    const place = new URL(url, location.href);
    return place.origin === location.origin ? place.href : null;
  }

  // --- What is shown

  function showStates(areKnown, why) {
    for (const name of ["loop", "worker"]) document.querySelector(`figure[data-chart=${name}]`).hidden = !areKnown;
    find("no-states").hidden = areKnown || !why;
    find("no-states").textContent = why ?? "";
  }

  function fillTable(backends) {
    cells = new Map();
    const rows = backends.map((name) => {
      const row = document.createElement("tr");
      row.className = liveCharts.classOf(name);
      const head = Object.assign(element("th", name), { scope: "row" });
      cells.set(name, COLUMNS.map(() => document.createElement("td")));
      row.append(head, ...cells.get(name));
      return row;
    });
    find("now").replaceChildren(...rows);
    backends.forEach((name) => fillRow(name, COLUMNS.map(() => ({ value: null, isOld: false }))));
  }

  function show() {
    if (document.hidden) return; // the service and the eye both have better things to do
    if (isComparison) return liveCharts.draw(together());
    for (const name of cells.keys()) {
      fillRow(name, COLUMNS.map(([figure]) => liveCharts.recent(points, (one) => one.backends?.[name]?.[figure])));
    }
    liveCharts.draw(points);
  }

  function fillRow(backend, found) {
    cells.get(backend)?.forEach((cell, at) => {
      cell.textContent = COLUMNS[at][1](found[at].value);
      cell.classList.toggle("old", found[at].isOld);
    });
  }

  // What was seen, and what came later of the same time.
  function together() {
    const all = [...points, ...windows].sort((one, other) => one.t - other.t);
    return all.filter(({ t }) => t >= all.at(-1).t - KEPT_S);
  }

  const isBusy = (said) =>
    Object.values(said.backends).some(({ rps, failed, queued, active }) => rps + failed + queued + active > 0);

  // Before the first request: what to type, with a workload that this service really has.
  async function explain(backends) {
    const at = location.origin;
    find("locust").textContent = `locust -f loadtests/locustfile.py --host ${at}`;
    let name = "noop";
    try {
      const answer = await fetch("/workloads", { headers: { Accept: "application/json" } });
      name = (await answer.json())[0].name;
    } catch {} // then the name is a guess
    find("curl").textContent = `curl ${at}/work/${quoted(name)}/${quoted(backends.includes("threads") ? "threads" : backends[0])}`;
  }

  // Safe in an address and in a shell.
  const quoted = (name) => encodeURIComponent(name).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`);

  function element(kind, words) {
    return Object.assign(document.createElement(kind), { textContent: words });
  }

  document.addEventListener("visibilitychange", show);
  setInterval(watch, 1000);
  connect();
})();
