"use strict";
(() => {
  const { facts, byId, all, written } = page;
  const rgba = (color, alpha) => {
    const value = parseInt(color.slice(1), 16);
    return ((alpha << 24) | ((value & 255) << 16) | (((value >> 8) & 255) << 8) | (value >> 16)) >>> 0;
  };

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
        const order = numeric ? (a, b) => value(a) - value(b) : (a, b) => value(a).localeCompare(value(b), document.documentElement.lang, { numeric: true });
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
  const started = typeof DecompressionStream === "function";
  if (!started) byId("old-browser").hidden = false;
  const inflate = async (id) => {
    const text = atob(byId(id).textContent);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  let hidden = new Set();
  const palettes = {
    landcover: () => {
      const colors = new Uint32Array(256);
      for (const each of facts.classes) if (!hidden.has(each.code)) colors[each.code] = rgba(each.color, 255);
      return colors;
    },
    confidence: () => Uint32Array.from({ length: 256 }, (_, code) => (code === facts.nodata ? 0 : rgba(facts.ramp[Math.min(9, Math.floor(code / 25))], 255))),
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
    const picture = byId("aerial-picture");
    const aerial = picture && L.imageOverlay("data:image/jpeg;base64," + picture.textContent, ground, { pane: "aerial", alt: "" }).addTo(map);
    const layers = {};
    for (const layer of facts.layers) {
      const canvas = document.createElement("canvas");
      // Blocks are drawn large, with lines between them.
      const side = layer.name === "progress" ? Math.max(1, Math.min(24, Math.floor(2048 / Math.max(layer.width, layer.height)))) : 1;
      const width = (canvas.width = layer.width * side), height = (canvas.height = layer.height * side);
      const codes = await inflate("layer-" + layer.name);
      const draw = () => {
        const colors = palettes[layer.name](), image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
        if (side === 1) for (let place = 0; place < pixels.length; place++) pixels[place] = colors[codes[place]];
        else
          for (let y = 0, place = 0; y < height; y++)
            for (let x = 0; x < width; x++, place++)
              if (side < 4 || (x % side && y % side)) pixels[place] = colors[codes[Math.floor(y / side) * layer.width + Math.floor(x / side)]];
        canvas.getContext("2d").putImageData(image, 0, 0);
      };
      layers[layer.name] = { ...layer, codes, draw, overlay: L.svgOverlay(canvas, corners(layer.bounds), { pane: "shown", interactive: false }) };
    }
    let current;
    const show = (name) => {
      if (current) current.overlay.remove();
      current = layers[name];
      current.draw();
      current.overlay.addTo(map);
    };
    const switchClasses = (codes) => {
      hidden = codes;
      layers.landcover.draw();
    };
    page.controls(map, { aerial, show, switchClasses, scale: facts.true_scale });

    // ---- what is under the pointer, or in the middle for the keyboard
    const readout = byId("readout");
    const at = (layer, point) => {
      const [x0, y0, x1, y1] = layer.bounds;
      const column = Math.floor(((point.lng - x0) / (x1 - x0)) * layer.width), row = Math.floor(((y1 - point.lat) / (y1 - y0)) * layer.height);
      return column < 0 || row < 0 || column >= layer.width || row >= layer.height ? undefined : layer.codes[row * layer.width + column];
    };
    const read = (point) => {
      const code = at(layers.landcover, point), sure = layers.confidence && at(layers.confidence, point);
      readout.hidden = code === undefined;
      if (code !== undefined) page.showReadout(code, sure === undefined || sure === facts.nodata ? undefined : sure / 2.5);
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
