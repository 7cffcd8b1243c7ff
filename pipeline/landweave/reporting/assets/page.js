"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  let language = document.documentElement.lang;
  const word = (key) => facts.words[language][key];
  const number = (value, digits) =>
    new Intl.NumberFormat(language === "fr" ? "fr-FR" : "en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  const written = (value, digits, unit) => (value === "" ? "–" : number(Number(value), Number(digits)) + (unit ? "\u00a0" + unit : ""));
  const rgba = (color, alpha) => {
    const value = parseInt(color.slice(1), 16);
    return ((alpha << 24) | ((value & 255) << 16) | (((value >> 8) & 255) << 8) | (value >> 16)) >>> 0;
  };

  // ---- words and numbers in the chosen language
  const listeners = [];
  const speak = (wanted) => {
    language = wanted;
    document.documentElement.lang = wanted;
    for (const each of all("[data-w]")) each.textContent = word(each.dataset.w);
    for (const each of all("[data-w-label]")) each.setAttribute("aria-label", word(each.dataset.wLabel));
    for (const each of all("[data-en]")) each.textContent = each.dataset[wanted];
    for (const each of all("[data-v]")) each.textContent = written(each.dataset.v, each.dataset.d, each.dataset.u);
    for (const each of all("[data-language]")) each.setAttribute("aria-pressed", each.dataset.language === wanted);
    for (const listener of listeners) listener();
  };
  for (const each of all("[data-language]")) each.addEventListener("click", () => speak(each.dataset.language));

  // ---- tables that sort
  for (const table of all("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("numeric");
        const was = head.getAttribute("aria-sort");
        const up = was ? was !== "ascending" : !numeric;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const value = (row) => (numeric ? (row.cells[place].dataset.v === "" ? -Infinity : Number(row.cells[place].dataset.v)) : row.cells[place].textContent.trim());
        const rows = [...table.tBodies[0].rows];
        const order = numeric ? (a, b) => value(a) - value(b) : (a, b) => value(a).localeCompare(value(b), language, { numeric: true });
        rows.sort((a, b) => (up ? order(a, b) : order(b, a)));
        table.tBodies[0].append(...rows);
      });
    });
  }

  // ---- areas of a zone
  const largest = (hectares) => Math.max(1e-12, ...Object.values(hectares));
  const showAreas = (place) => {
    const zone = facts.zones[place];
    const sum = Object.values(zone.hectares).reduce((a, b) => a + b, 0);
    const set = (cell, value) => {
      cell.dataset.v = value;
      cell.textContent = written(cell.dataset.v, cell.dataset.d, cell.dataset.u);
    };
    for (const row of byId("class-areas").tBodies[0].rows) {
      const hectares = zone.hectares[row.dataset.code] || 0, confidence = zone.confidence[row.dataset.code];
      row.cells[1].firstElementChild.style.width = (100 * hectares) / largest(zone.hectares) + "%";
      set(row.cells[2], hectares);
      set(row.cells[3], sum ? (100 * hectares) / sum : 0);
      set(row.cells[4], confidence === undefined ? "" : 100 * confidence);
    }
    set(byId("total"), sum);
  };

  // ---- the map
  const L = window.leaflet || window.L;
  const started = typeof DecompressionStream === "function" && L;
  if (!started) byId("old-browser").hidden = false;
  const inflate = async (id) => {
    const text = atob(byId(id).textContent);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const ramp = ["#7a0177", "#c51b8a", "#f768a1", "#fbb4b9", "#feebe2", "#f2f5ef", "#cfe3d6", "#8fc1a5", "#3f8f74", "#0b5d5e"];
  const hidden = new Set();
  const palettes = {
    landcover: () => {
      const colors = new Uint32Array(256);
      for (const each of facts.classes) if (!hidden.has(each.code)) colors[each.code] = rgba(each.color, 255);
      return colors;
    },
    confidence: () => Uint32Array.from({ length: 256 }, (_, code) => (code === facts.nodata ? 0 : rgba(ramp[Math.min(9, Math.floor(code / 25))], 255))),
    progress: () => {
      const colors = new Uint32Array(256);
      for (const each of facts.states) colors[each.code] = rgba(each.color, 255);
      return colors;
    },
  };
  const corners = (box) => [[box[1], box[0]], [box[3], box[2]]];

  const begin = async () => {
    const map = L.map("map", { crs: L.CRS.Simple, zoomControl: false, attributionControl: false, zoomSnap: 0.25, zoomDelta: 1, minZoom: -12, maxZoom: 6, zoomAnimation: false, maxBoundsViscosity: 0.8 });
    const ground = L.latLngBounds(corners([0, 0, ...facts.size]));
    map.createPane("aerial").style.zIndex = 300;
    const pane = map.createPane("shown");
    pane.style.zIndex = 400;
    map.fitBounds(ground);
    map.setMinZoom(map.getZoom() - 1);
    map.setMaxBounds(ground.pad(0.6));
    const zoom = L.control.zoom({ position: "topleft" }).addTo(map);
    L.control.scale({ imperial: false, maxWidth: 140 }).addTo(map);
    const nameZoom = () => {
      zoom._zoomInButton.title = word("zoom_in");
      zoom._zoomOutButton.title = word("zoom_out");
      zoom._zoomInButton.setAttribute("aria-label", word("zoom_in"));
      zoom._zoomOutButton.setAttribute("aria-label", word("zoom_out"));
    };
    listeners.push(nameZoom);
    nameZoom();

    const picture = byId("aerial-picture");
    const aerial = picture && L.imageOverlay("data:image/jpeg;base64," + picture.textContent, ground, { pane: "aerial", alt: "" }).addTo(map);
    const layers = {};
    for (const layer of facts.layers) {
      const canvas = document.createElement("canvas");
      canvas.width = layer.width;
      canvas.height = layer.height;
      const codes = await inflate("layer-" + layer.name);
      const draw = () => {
        const colors = palettes[layer.name](), image = new ImageData(layer.width, layer.height), pixels = new Uint32Array(image.data.buffer);
        for (let place = 0; place < pixels.length; place++) pixels[place] = colors[codes[place]];
        canvas.getContext("2d").putImageData(image, 0, 0);
      };
      layers[layer.name] = { ...layer, codes, draw, overlay: L.svgOverlay(canvas, corners(layer.bounds), { pane: "shown", interactive: false }) };
    }
    let current;
    const opacity = byId("opacity");
    const fade = () => {
      pane.style.opacity = opacity.value / 100;
      byId("opacity-value").textContent = opacity.value + "\u00a0%";
    };
    const show = (name) => {
      if (current) current.overlay.remove();
      current = layers[name];
      current.draw();
      current.overlay.addTo(map);
      for (const each of all(".keys")) each.hidden = each.dataset.for !== name;
      byId("map").dataset.layer = name;
    };
    opacity.addEventListener("input", fade);
    for (const each of all("input[name=layer]")) each.addEventListener("change", () => show(each.value));
    fade();
    show(document.querySelector("input[name=layer]:checked").value);

    // ---- classes on and off
    const boxes = all("#legend input");
    const switchClasses = () => {
      hidden.clear();
      for (const box of boxes) if (!box.checked) hidden.add(Number(box.value));
      layers.landcover.draw();
    };
    for (const box of boxes) box.addEventListener("change", switchClasses);
    const check = (checked) => () => {
      for (const box of boxes) box.checked = checked;
      switchClasses();
    };
    byId("all").addEventListener("click", check(true));
    byId("none").addEventListener("click", check(false));

    // ---- aerial picture and the divider: the layer shows on its right
    const divider = byId("divider"), line = byId("divider-line"), swipe = byId("swipe");
    const clip = () => {
      if (!swipe || !swipe.checked) {
        pane.style.clipPath = "";
        return;
      }
      const size = map.getSize(), thumb = 44, share = divider.value / 1000;
      const x = thumb / 2 + share * (size.x - thumb);
      line.style.left = x + "px";
      const from = map.containerPointToLayerPoint([x, 0]), to = map.containerPointToLayerPoint(size);
      pane.style.clipPath = `polygon(${from.x}px ${from.y}px, ${to.x}px ${from.y}px, ${to.x}px ${to.y}px, ${from.x}px ${to.y}px)`;
    };
    if (swipe) {
      byId("aerial").addEventListener("change", (event) => (event.target.checked ? aerial.addTo(map) : aerial.remove()));
      swipe.addEventListener("change", () => {
        divider.hidden = line.hidden = !swipe.checked;
        if (swipe.checked && !byId("aerial").checked) byId("aerial").click();
        clip();
      });
      divider.addEventListener("input", clip);
      map.on("move zoom viewreset resize", clip);
    }

    // ---- what is under the pointer, or in the middle for the keyboard
    const readout = byId("readout");
    const at = (layer, point) => {
      const [x0, y0, x1, y1] = layer.bounds;
      const column = Math.floor(((point.lng - x0) / (x1 - x0)) * layer.width), row = Math.floor(((y1 - point.lat) / (y1 - y0)) * layer.height);
      return column < 0 || row < 0 || column >= layer.width || row >= layer.height ? undefined : layer.codes[row * layer.width + column];
    };
    const read = (point) => {
      const code = at(layers.landcover, point), known = facts.classes.find((each) => each.code === code);
      readout.hidden = code === undefined;
      if (readout.hidden) return;
      const sure = layers.confidence && at(layers.confidence, point);
      const swatch = document.createElement("i"), text = document.createElement("span");
      swatch.style.background = known ? known.color : "#e9ebe8";
      text.textContent = known ? known[language === "fr" ? "name_fr" : "name"] : word("not_shown");
      if (known && sure !== undefined && sure !== facts.nodata) text.textContent += "  ·  " + number(sure / 2.5, 0) + "\u00a0%";
      readout.replaceChildren(swatch, text);
    };
    map.on("mousemove click", (event) => read(event.latlng));
    map.on("mouseout", () => (readout.hidden = true));
    map.on("moveend", () => document.activeElement === map.getContainer() && !map.getContainer().matches(":hover") && read(map.getCenter()));

    // ---- zones
    let outline;
    const showZone = (place, move) => {
      showAreas(place);
      if (byId("zone")) byId("zone").value = place;
      for (const row of all("#zone-areas tbody tr")) row.classList.toggle("current", row.querySelector("button").dataset.zone === String(place));
      if (outline) outline.remove();
      const zone = facts.zones[place];
      outline = place ? L.polygon(zone.rings, { color: "#1d2b30", weight: 3, fill: false, interactive: false }).addTo(map) : undefined;
      if (move) map.fitBounds(place ? corners(zone.bounds) : ground);
    };
    if (byId("zone")) byId("zone").addEventListener("change", (event) => showZone(Number(event.target.value), true));
    for (const each of all("#zone-areas [data-zone]"))
      each.addEventListener("click", () => {
        showZone(Number(each.dataset.zone), true);
        byId("map-box").scrollIntoView({ block: "nearest" });
      });
    byId("map").dataset.ready = "true";
  };
  if (started) begin();
})();
