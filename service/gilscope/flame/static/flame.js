// Zoom, search, layers and keyboard for gilscope's flame graphs: one opened alone, or many inside a page.
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
    const layers = [...graph.querySelectorAll(".boxes")];
    const resting = status.textContent;
    const alone = graph.ownerDocument.documentElement.localName === "svg";
    const byElement = new Map();
    const read = new Map(); // a layer's boxes, read when it is first shown
    let layer = layers[0];
    let boxes, root, zoomed, focused;
    let query = "";

    // A box as it was drawn: edges in percent of the whole graph, outermost caller first in the document.
    function readBox(element) {
      const left = parseFloat(element.getAttribute("x"));
      const width = parseFloat(element.getAttribute("width"));
      const title = element.querySelector("title").textContent;
      const frame = title.slice(0, title.indexOf("\n"));
      const row = Number(element.getAttribute("y"));
      const nameless = element.classList.contains("root") || element.classList.contains("rest");
      const box = { element, left, width, right: left + width, row, frame, lower: frame.toLowerCase(), nameless };
      byElement.set(element, box);
      return box;
    }

    const boxOf = (event) => byElement.get(event.target.closest?.(".boxes > svg"));
    const holds = (outer, inner) => outer.left <= inner.left + EDGE && outer.right >= inner.right - EDGE;
    const isAbove = (box, other) => box.row < other.row && holds(box, other);

    function show(wanted) {
      if (!wanted) return;
      const gained = Number(wanted.getAttribute("height")) - Number(layer.getAttribute("height"));
      const hadFocus = layer.contains(document.activeElement);
      layer.setAttribute("display", "none");
      wanted.removeAttribute("display");
      const grown = alone && graph !== document.documentElement ? [graph, document.documentElement] : [graph];
      for (const one of grown) one.setAttribute("height", Number(one.getAttribute("height")) + gained);
      enter(wanted);
      if (hadFocus) root.element.focus();
      for (const button of views) button.setAttribute("aria-pressed", String(button.leads(layer) === layer));
    }

    function enter(wanted) {
      layer = wanted;
      if (!read.has(layer)) {
        read.set(layer, [...layer.children].map(readBox));
        for (const box of read.get(layer)) {
          box.element.setAttribute("tabindex", "-1");
          box.element.setAttribute("role", "button");
        }
      }
      boxes = read.get(layer);
      root = focused = boxes[0];
      root.element.setAttribute("tabindex", "0");
      zoom(root);
      search(query);
    }

    function zoom(box) {
      zoomed = box;
      for (const one of boxes) {
        const above = isAbove(one, box);
        one.element.classList.toggle("above", above);
        one.element.classList.toggle("away", !above && !(one.row >= box.row && holds(box, one)));
        // At rest the root may be narrower than the graph: the other side of a difference weighs more.
        const left = box === root ? one.left : above ? 0 : ((one.left - box.left) / box.width) * 100;
        const width = box === root ? one.width : above ? 100 : (one.width / box.width) * 100;
        one.element.setAttribute("x", `${left.toFixed(4)}%`);
        one.element.setAttribute("width", `${width.toFixed(4)}%`);
        one.shown = width;
      }
      hideThinText();
      report();
    }

    function hideThinText() {
      const graphPx = layer.getBoundingClientRect().width;
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
      graph.dataset.matched = ((100 * counted) / root.width).toFixed(2);
      report();
    }

    // One line says what is looked at; merged narrow frames have no names, so a search may miss some.
    function report() {
      const parts = [];
      const atLeast = "merged" in graph.dataset ? "\u2265 " : "";
      if (query) parts.push(`${atLeast}${percent(Number(graph.dataset.matched))} matched`);
      if (zoomed !== root) parts.push(`${percent((100 * zoomed.width) / root.width)} zoomed`);
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

    // A click on what stands for folded frames brings them back.
    function choose(box) {
      const isFolded = layer.dataset.harness === "folded" && box.frame === "(service)";
      if (isFolded && find("shown", layer.dataset.side)) show(find("shown", layer.dataset.side));
      else zoom(box);
    }

    function onKey(event) {
      const box = boxOf(event);
      if (event.key === "Escape" && (query || zoomed !== root)) reset();
      else if (event.target === input) return;
      else if (event.key === "/" || (alone && event.key === "f" && (event.ctrlKey || event.metaKey))) input.focus();
      else if (box && (event.key === "Enter" || event.key === " ")) choose(box);
      else if (box && event.key.startsWith("Arrow")) focus(neighbour(box, event.key));
      else return;
      event.preventDefault();
    }

    const find = (harness, side) =>
      layers.find((one) => one.dataset.harness === harness && one.dataset.side === side);

    // Buttons that choose a layer: with the service's frames or without, and at whose widths.
    function addViews(place) {
      const details = new Set(layers.map((one) => one.dataset.harness));
      const sides = new Set(layers.map((one) => one.dataset.side));
      const made = [];
      const add = (words, leads) => made.push(Object.assign(addButton(words), { leads }));
      if (details.size > 1) add("show service frames", (from) => find("shown", from.dataset.side));
      if (sides.size > 1) {
        for (const side of sides) {
          add(`widths: ${side}`, (from) => find(from.dataset.harness, side) ?? find("shown", side));
        }
      }
      if (!made.length) return made;
      const row = holderIn(place, { x: 0, y: 0, width: "100%", height: 28 });
      for (const button of made) {
        row.append(button);
        button.addEventListener("click", () => {
          const isDetail = button === made[0] && details.size > 1;
          const other = isDetail && layer.dataset.harness === "shown" ? find("folded", layer.dataset.side) : undefined;
          show(other ?? button.leads(layer));
        });
      }
      return made;
    }

    const views = addViews(graph.querySelector(".views"));
    const input = addInput(graph.querySelector(".search"));
    status.setAttribute("role", "status");
    graph.classList.add("live");
    graph.addEventListener("click", (event) => {
      const box = boxOf(event);
      if (box) choose(box);
    });
    input.addEventListener("input", () => search(input.value));
    (alone ? document : graph).addEventListener("keydown", onKey);
    new ResizeObserver(hideThinText).observe(graph);
    enter(layer);
    for (const button of views) button.setAttribute("aria-pressed", String(button.leads(layer) === layer));
  }

  function holderIn(place, edges) {
    const holder = document.createElementNS(SVG, "foreignObject");
    for (const [name, value] of Object.entries(edges)) holder.setAttribute(name, value);
    const row = document.createElementNS(HTML, "div");
    holder.append(row);
    place.append(holder);
    return row;
  }

  function addButton(words) {
    const button = document.createElementNS(HTML, "button");
    button.setAttribute("type", "button");
    button.textContent = words;
    return button;
  }

  function addInput(place) {
    const input = document.createElementNS(HTML, "input");
    input.setAttribute("type", "search");
    input.setAttribute("placeholder", "Search frames");
    input.setAttribute("aria-label", "Search frames");
    holderIn(place, { x: -150, y: 0, width: 150, height: 26 }).append(input);
    return input;
  }

  // A link to a graph opens what it is folded into, and shows it.
  function openTarget() {
    let name = location.hash.slice(1);
    try {
      name = decodeURIComponent(name);
    } catch {} // as it stands, then
    const target = name && document.getElementById(name);
    if (!target) return;
    for (let one = target; one; one = one.parentElement) if (one.localName === "details") one.open = true;
    target.scrollIntoView();
  }

  // Pages that add graphs later call this again; a graph is attached once.
  globalThis.attachFlames = (within = document) => within.querySelectorAll("svg.flame").forEach(attach);
  function begin() {
    globalThis.attachFlames();
    openTarget();
  }
  addEventListener("hashchange", openTarget);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
