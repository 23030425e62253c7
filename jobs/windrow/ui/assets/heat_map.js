// Show the heat map of two hyper-parameters as a table with coloured cells.

import { element, fill, options, sentence, unseen } from "./dom.js";
import { count, objective, spaced, several } from "./words.js";
import { sentenceCase } from "./sweep.js";

export function heatMap(section, sweep) {
  const map = sweep.heat_map;
  const axes = section.querySelector("form");
  axes.hidden = Boolean(map.absent);
  if (map.absent) {
    fill(section, sentence(map.absent));
    return;
  }
  for (const [place, chosen] of [["across", map.x], ["down", map.y]]) {
    options(axes.querySelector(`#${place}`), sweep.parameters.map((name) => [name, spaced(name)]), chosen);
  }
  const best = Math.max(...map.cells.flat().map((cell) => cell?.shade ?? -1));
  const head = element(
    "tr",
    {},
    element("th", { scope: "col", class: "corner" }, `${sentenceCase(spaced(map.y))} \\ ${spaced(map.x)}`),
    map.columns.map((label) => element("th", { scope: "col" }, label)),
  );
  const rows = map.rows.map((label, row) => element("tr", {}, element("th", { scope: "row" }, label), map.cells[row].map((cell) => square(cell, sweep.falls))));
  const unit = sweep.falls ? "" : " in percent";
  const caption = `Median ${objective(sweep.objective)}${unit} of ${several(map.trials, "trial")} by ${spaced(map.x)} and ${spaced(map.y)}`;
  const grid = element("table", { class: "heat" }, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, rows));
  fill(section, element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption }, grid), key(best));
}

function square(cell, falls) {
  if (!cell) return element("td", { class: "empty" }, unseen("no trial"));
  const text = `${several(cell.ok, "trial")} ok${cell.other ? `, ${count(cell.other)} ended otherwise` : ""}`;
  if (cell.median === null) return element("td", { class: "none", title: text }, "×", unseen(` ${text}`));
  return element("td", { "data-shade": String(cell.shade), title: text }, value(cell.median, falls), unseen(`; ${text}`));
}

const value = (median, falls) => (falls ? median.toPrecision(3) : (100 * median).toFixed(1));

function key(best) {
  const steps = Array.from({ length: best + 1 }, (_, shade) => element("span", { "data-shade": String(shade) }));
  return element("p", { class: "key" }, "poor ", element("span", { class: "steps", "aria-hidden": "true" }, steps), " best · × no trial ended ok there");
}
