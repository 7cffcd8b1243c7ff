"use strict";
// What all pages share: words in two languages, opacity, classes on and off, the divider.
const page = (() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const word = (key) => facts.words[document.documentElement.lang][key];
  const number = (value, digits) =>
    new Intl.NumberFormat(document.documentElement.lang === "fr" ? "fr-FR" : "en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  const written = (value, digits, unit) => (value === "" ? "–" : number(Number(value), Number(digits)) + (unit ? "\u00a0" + unit : ""));

  // ---- words and numbers in the chosen language
  const listeners = [];
  const speak = (language) => {
    document.documentElement.lang = language;
    for (const each of all("[data-w]")) each.textContent = word(each.dataset.w);
    for (const each of all("[data-w-label]")) each.setAttribute("aria-label", word(each.dataset.wLabel));
    for (const each of all("[data-en]")) each.textContent = each.dataset[language];
    for (const each of all("[data-v]")) each.textContent = written(each.dataset.v, each.dataset.d, each.dataset.u);
    for (const each of all("[data-language]")) each.setAttribute("aria-pressed", each.dataset.language === language);
    for (const listener of listeners) listener();
  };
  for (const each of all("[data-language]")) each.addEventListener("click", () => speak(each.dataset.language));

  // ---- controls of a map: layers in the pane "shown", an aerial picture beneath
  const controls = (map, { aerial, show, switchClasses, scale = true }) => {
    const pane = map.getPane("shown"), opacity = byId("opacity");
    const zoom = L.control.zoom({ position: "topleft" }).addTo(map);
    if (scale) L.control.scale({ imperial: false, maxWidth: 140 }).addTo(map);
    const nameZoom = () => {
      for (const [button, key] of [[zoom._zoomInButton, "zoom_in"], [zoom._zoomOutButton, "zoom_out"]]) {
        button.title = word(key);
        button.setAttribute("aria-label", word(key));
      }
    };
    listeners.push(nameZoom);
    nameZoom();

    const fade = () => {
      pane.style.opacity = opacity.value / 100;
      byId("opacity-value").textContent = opacity.value + "\u00a0%";
    };
    opacity.addEventListener("input", fade);
    fade();

    const choose = (name) => {
      show(name);
      for (const each of all(".keys")) each.hidden = each.dataset.for !== name;
      byId("map").dataset.layer = name;
    };
    for (const each of all("input[name=layer]")) each.addEventListener("change", () => choose(each.value));
    choose(document.querySelector("input[name=layer]:checked").value);

    const boxes = all("#legend input");
    const switched = () => switchClasses(new Set(boxes.filter((box) => !box.checked).map((box) => Number(box.value))));
    for (const box of boxes) box.addEventListener("change", switched);
    for (const [id, checked] of [["all", true], ["none", false]])
      byId(id).addEventListener("click", () => {
        for (const box of boxes) box.checked = checked;
        switched();
      });

    // The layer shows on the right of the divider.
    const divider = byId("divider"), line = byId("divider-line"), swipe = byId("swipe");
    if (!swipe) return;
    const clip = () => {
      if (!swipe.checked) {
        pane.style.clipPath = "";
        return;
      }
      const size = map.getSize(), thumb = 44, x = thumb / 2 + (divider.value / 1000) * (size.x - thumb);
      line.style.left = x + "px";
      const from = map.containerPointToLayerPoint([x, 0]), to = map.containerPointToLayerPoint(size);
      pane.style.clipPath = `polygon(${from.x}px ${from.y}px, ${to.x}px ${from.y}px, ${to.x}px ${to.y}px, ${from.x}px ${to.y}px)`;
    };
    byId("aerial").addEventListener("change", (event) => (event.target.checked ? aerial.addTo(map) : aerial.remove()));
    swipe.addEventListener("change", () => {
      divider.hidden = line.hidden = !swipe.checked;
      if (swipe.checked && !byId("aerial").checked) byId("aerial").click();
      clip();
    });
    divider.addEventListener("input", clip);
    map.on("move zoom viewreset resize", clip);
  };

  // ---- what lies at a point: the class, and how sure it is in percent
  const showReadout = (code, sure) => {
    const readout = byId("readout"), known = facts.classes.find((each) => each.code === code);
    const swatch = document.createElement("i"), text = document.createElement("span");
    swatch.style.background = known ? known.color : "#e9e9e9";
    text.textContent = known ? known[document.documentElement.lang === "fr" ? "name_fr" : "name"] : word("not_shown");
    if (known && sure !== undefined) text.textContent += "  ·  " + number(sure, 0) + "\u00a0%";
    readout.replaceChildren(swatch, text);
    readout.hidden = false;
  };
  return { facts, byId, all, word, number, written, listeners, speak, controls, showReadout };
})();
