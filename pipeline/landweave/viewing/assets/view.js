"use strict";
(() => {
  const { facts, byId } = page;
  const map = L.map("map", { zoomControl: false, attributionControl: false, maxZoom: 23, zoomAnimation: false, fadeAnimation: false });
  const [west, south, east, north] = facts.layers.landcover;
  const ground = L.latLngBounds([[south, west], [north, east]]);
  map.createPane("aerial").style.zIndex = 300;
  map.createPane("shown").style.zIndex = 400;
  map.fitBounds(ground);
  map.setMaxBounds(ground.pad(1));

  let hidden = "";
  const tiles = (name, pane) =>
    L.tileLayer(`${name}/tiles/WebMercatorQuad/{z}/{x}/{y}.png{query}`, { pane, maxZoom: 23, bounds: ground, keepBuffer: 1, query: () => (name === "landcover" && hidden ? "?hide=" + hidden : "") });
  const layers = {};
  for (const name of ["landcover", "confidence"]) if (facts.layers[name]) layers[name] = tiles(name, "shown");
  const aerial = facts.layers.aerial && tiles("aerial", "aerial").addTo(map);
  let current;
  const show = (name) => {
    if (current) current.remove();
    current = layers[name].addTo(map);
  };
  const switchClasses = (codes) => {
    hidden = [...codes].join(",");
    layers.landcover.redraw();
  };
  page.controls(map, { aerial, show, switchClasses });

  // ---- what lies where the map is clicked, or in its middle for the keyboard
  const value = async (name, point) => {
    const zoom = Math.min(23, map.getZoom() + 2), at = map.project(point, zoom);
    const [x, y] = [Math.floor(at.x / 256), Math.floor(at.y / 256)];
    const response = await fetch(`${name}/value/${zoom}/${x}/${y}/${Math.floor(at.y) % 256}/${Math.floor(at.x) % 256}`);
    return response.status === 200 ? (await response.json()).value : null;
  };
  const read = async (point) => {
    const [code, sure] = await Promise.all([value("landcover", point), layers.confidence ? value("confidence", point) : null]);
    page.showReadout(code, sure === null ? undefined : sure / 2.5);
  };
  map.on("click", (event) => read(event.latlng));
  map.getContainer().addEventListener("keydown", (event) => event.key === "Enter" && event.target === map.getContainer() && read(map.getCenter()));

  // ---- a run that goes on
  let seen;
  const watch = async () => {
    const { done, total } = await (await fetch("status")).json();
    if (total === null) return;
    const status = byId("status"), bar = document.createElement("progress");
    [bar.max, bar.value] = [total, done];
    status.replaceChildren(`${done} / ${total} ${page.word("blocks").toLowerCase()}`, bar);
    status.hidden = done === total;
    if (seen !== undefined && seen !== done) current.redraw();
    seen = done;
    if (done < total) setTimeout(() => watch().catch(() => {}), 3000);
  };
  watch().catch(() => {});
  if (navigator.language.startsWith("fr")) page.speak("fr");
  byId("map").dataset.ready = "true";
})();
