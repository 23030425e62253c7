// Show the champion and all other versions of the model.

import { element, fill, table } from "./dom.js";
import { figure, percent, spaced, time } from "./words.js";

export function champions(section, values) {
  const champion = values.versions.find((version) => version.aliases.includes("champion"));
  const columns = [
    { title: "Version", cell: (version) => String(version.version), head: true },
    { title: "Registered", cell: (version) => time(version.at), kind: "text" },
    { title: "Alias", cell: (version) => aliases(version), kind: "text" },
    { title: "Test accuracy", cell: (version) => figure(version.test_accuracy) },
    { title: "95 % interval", cell: (version) => interval(version) },
    { title: "Guessing", cell: (version) => (typeof version.baseline === "number" ? figure(version.baseline) : "–") },
    { title: "Macro-F1", cell: (version) => figure(version.macro_f1) },
    { title: "Lowest recall", cell: (version) => worst(version), kind: "text" },
    { title: "Decision", cell: (version) => version.reason, kind: "text wide" },
    { title: "Decided by", cell: (version) => decided(version), kind: "text" },
  ];
  fill(section, headline(champion, values.model), table(`Versions of ${values.model}, newest first`, columns, values.versions));
}

function headline(champion, model) {
  if (!champion) return element("p", { class: "lead" }, `${model} has no champion now: the next challenger that is better than guessing becomes it without a comparison.`);
  const read = champion.test_accuracy === null ? "" : `: test accuracy ${percent(champion.test_accuracy, 2)} on ${champion.test_images} images${guessing(champion)}`;
  return element("p", { class: "lead" }, element("b", {}, `Version ${champion.version}`), ` of ${model} is champion${read}.`);
}

function guessing(version) {
  return typeof version.baseline === "number" ? `, where guessing gives ${percent(version.baseline, 2)}` : "";
}

function aliases(version) {
  const badges = version.aliases.map((alias) => element("span", { class: "badge", "data-alias": alias }, spaced(alias)));
  return badges.length ? element("span", {}, badges) : "–";
}

function decided(version) {
  const first = version.approved_by || (version.decision ? "the rule" : "–");
  return version.chosen_by ? `${first}; made champion by ${version.chosen_by}` : first;
}

const interval = (version) => (version.interval ? `${figure(version.interval[0])} to ${figure(version.interval[1])}` : "–");

const worst = (version) => (version.worst ? `${figure(version.worst[1])}, ${version.worst[0]}` : "–");
