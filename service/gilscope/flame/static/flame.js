// Zoom, search and keyboard for gilscope's flame graphs: one opened alone, or many inside a page.
// A graph is drawn completely without this file. Nothing here turns data into markup.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const HTML = "http://www.w3.org/1999/xhtml";
  const EDGE = 1e-4; // percent: how far rounded edges may miss each other
  const READABLE_PX = 26; // a narrower box shows no text
  const attached = new WeakSet();
  const percent = (share) => `${share.toFixed(1)} %`;

  function attach(graph) {
    if (attached.has(graph)) return;
    attached.add(graph);
    const status = graph.querySelector(".status");
    const boxes = [...graph.querySelectorAll(".boxes > svg")].map(readBox);
    const byElement = new Map(boxes.map((box) => [box.element, box]));
    const root = boxes[0];
    const resting = status.textContent;
    let zoomed = root;
    let query = "";
    let focused = root;

    // A box as it was drawn: edges in percent of the whole graph, outermost caller first in the document.
    function readBox(element) {
      const left = parseFloat(element.getAttribute("x"));
      const width = parseFloat(element.getAttribute("width"));
      const title = element.querySelector("title").textContent;
      const frame = title.slice(0, title.lastIndexOf("\n"));
      const row = Number(element.getAttribute("y"));
      const nameless = element.classList.contains("root") || element.classList.contains("rest");
      return { element, left, width, right: left + width, row, lower: frame.toLowerCase(), nameless };
    }

    const boxOf = (event) => byElement.get(event.target.closest?.(".boxes > svg"));
    const holds = (outer, inner) => outer.left <= inner.left + EDGE && outer.right >= inner.right - EDGE;
    const isAbove = (box, other) => box.row < other.row && holds(box, other);

    function zoom(box) {
      zoomed = box;
      for (const one of boxes) {
        const above = isAbove(one, box);
        one.element.classList.toggle("above", above);
        one.element.classList.toggle("away", !above && !(one.row >= box.row && holds(box, one)));
        const left = above ? 0 : ((one.left - box.left) / box.width) * 100;
        const width = above ? 100 : (one.width / box.width) * 100;
        one.element.setAttribute("x", `${left.toFixed(4)}%`);
        one.element.setAttribute("width", `${width.toFixed(4)}%`);
        one.shown = width;
      }
      hideThinText();
      report();
    }

    function hideThinText() {
      const graphPx = graph.querySelector(".boxes").getBoundingClientRect().width;
      if (!graphPx) return; // not laid out (a closed <details>): the next resize tells
      for (const one of boxes) {
        one.element.classList.toggle("thin", ((one.shown ?? one.width) / 100) * graphPx < READABLE_PX);
      }
    }

    // Share of the whole graph whose stacks hold a match: nested matches count once.
    function search(text) {
      query = text.trim();
      const wanted = query.toLowerCase();
      let counted = 0;
      let covered = -1;
      for (const box of boxes) {
        const hit = wanted !== "" && !box.nameless && box.lower.includes(wanted);
        box.element.classList.toggle("hit", hit);
        if (hit && box.left >= covered - EDGE) {
          counted += box.width;
          covered = box.right;
        }
      }
      graph.classList.toggle("searching", wanted !== "");
      graph.dataset.matched = counted.toFixed(2);
      report();
    }

    // One line says what is looked at; merged narrow frames have no names, so a search may miss some.
    function report() {
      const parts = [];
      const atLeast = "merged" in graph.dataset ? "\u2265 " : "";
      if (query) parts.push(`${atLeast}${percent(Number(graph.dataset.matched))} matched`);
      if (zoomed !== root) parts.push(`${percent(zoomed.width)} zoomed`);
      if (parts.length === 1) parts.push("Esc resets");
      status.textContent = parts.join(" \u00b7 ") || resting;
    }

    function reset() {
      input.value = "";
      search("");
      zoom(root);
    }

    // Only one box of a graph is a tab stop; arrows walk from it.
    function focus(box) {
      if (!box) return;
      focused.element.setAttribute("tabindex", "-1");
      box.element.setAttribute("tabindex", "0");
      focused = box;
      box.element.focus();
    }

    function neighbour(box, key) {
      const seen = boxes.filter((one) => !one.element.classList.contains("away"));
      const place = seen.indexOf(box);
      if (key === "ArrowUp") return seen.filter((one) => isAbove(one, box)).pop();
      if (key === "ArrowDown") return seen.slice(place + 1).find((one) => isAbove(box, one));
      if (key === "ArrowLeft") return seen.slice(0, place).reverse().find((one) => one.row === box.row);
      return seen.slice(place + 1).find((one) => one.row === box.row);
    }

    function onKey(event) {
      const box = boxOf(event);
      if (event.key === "Escape" && (query || zoomed !== root)) reset();
      else if (event.target === input) return;
      else if (event.key === "/" || (alone && event.key === "f" && (event.ctrlKey || event.metaKey))) input.focus();
      else if (box && (event.key === "Enter" || event.key === " ")) zoom(box);
      else if (box && event.key.startsWith("Arrow")) focus(neighbour(box, event.key));
      else return;
      event.preventDefault();
    }

    const input = addInput(graph.querySelector(".search"));
    const alone = graph.ownerDocument.documentElement.localName === "svg";
    for (const box of boxes) {
      box.element.setAttribute("tabindex", box === root ? "0" : "-1");
      box.element.setAttribute("role", "button");
    }
    status.setAttribute("role", "status");
    graph.classList.add("live");
    graph.addEventListener("click", (event) => {
      const box = boxOf(event);
      if (box) zoom(box);
    });
    input.addEventListener("input", () => search(input.value));
    (alone ? document : graph).addEventListener("keydown", onKey);
    new ResizeObserver(hideThinText).observe(graph);
    hideThinText();
  }

  function addInput(place) {
    const holder = document.createElementNS(SVG, "foreignObject");
    for (const [name, value] of Object.entries({ x: -150, y: 0, width: 150, height: 26 })) holder.setAttribute(name, value);
    const input = document.createElementNS(HTML, "input");
    input.setAttribute("type", "search");
    input.setAttribute("placeholder", "Search frames");
    input.setAttribute("aria-label", "Search frames");
    holder.append(input);
    place.append(holder);
    return input;
  }

  // Pages that add graphs later call this again; a graph is attached once.
  globalThis.attachFlames = (within = document) => within.querySelectorAll("svg.flame").forEach(attach);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => globalThis.attachFlames());
  else globalThis.attachFlames();
})();
