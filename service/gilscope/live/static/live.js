// The live page: takes the service's stream and keeps the words, the table and the charts up to date.
(() => {
  "use strict";
  const KEPT_S = 300;
  const LATE_MS = 3000;
  const RETRY_MS = 3000;
  const COLUMNS = [
    ["rps", liveCharts.rate],
    ["p50_ms", liveCharts.milliseconds],
    ["p99_ms", liveCharts.milliseconds],
    ["failed", liveCharts.rate],
    ["queued", liveCharts.count],
    ["active", liveCharts.count],
  ];
  const STATES = {
    connecting: "connecting",
    live: "live",
    late: "late",
    lost: "the service does not answer, trying again",
    ended: "ended",
  };

  const find = (id) => document.getElementById(id);
  let points = [];
  let cells = new Map(); // of the table, by backend
  let heard = 0; // when the stream last said something
  let isIdle = false;
  let source;

  // --- The stream

  // After a break the browser connects again by itself, but not if it was refused.
  function connect() {
    source = new EventSource("/live");
    for (const [name, take] of Object.entries({ hello, point, note, trial, graph, end })) {
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
    find("python").textContent = `Python ${said.python}`;
    find("gil").textContent = said.gil ? "GIL on" : "GIL off";
    find("which").textContent = said.backends.join(", ");
    find("profiles")?.toggleAttribute("hidden", !said.captures);
    liveCaptures.offer(said.captures, said.no_captures);
    showStates(said.states, said.no_states);
    points = said.history.slice(-KEPT_S);
    fillTable(said.backends);
    liveCharts.begin(said.backends);
    empty("trials", "ended");
    empty("flames", "drawn");
    said.trials.forEach(trial);
    said.graphs.forEach(graph);
    note({ text: said.note ?? "" });
    report(said.report);
    isIdle = !said.note && !said.report && !said.trials.length && !points.some(isBusy);
    find("idle").hidden = !isIdle;
    if (isIdle) explain(said.backends);
    show();
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

  function trial({ text, backend, valid }) {
    const item = document.createElement("li");
    item.className = liveCharts.classOf(backend ?? "");
    item.append(element("span", text));
    if (!valid) {
      item.classList.add("invalid");
      item.append(" ", element("strong", "not valid"));
    }
    find("ended").prepend(item);
    find("trials").hidden = false;
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
  }

  function show() {
    if (document.hidden) return; // the service and the eye both have better things to do
    for (const [name, row] of cells) {
      COLUMNS.forEach(([figure, write], at) => {
        const { value, isOld } = liveCharts.recent(points, (one) => one.backends?.[name]?.[figure]);
        row[at].textContent = write(value);
        row[at].classList.toggle("old", isOld);
      });
    }
    liveCharts.draw(points);
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
