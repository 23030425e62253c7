// Show the progress of a sweep, the outcomes of its trials, and the best trials.

import { bar, element, fill, sentence, table } from "./dom.js";
import { ENDINGS, count, duration, figure, objective, parameter, spaced, several } from "./words.js";

export function progress(section, sweep, now) {
  const best = sweep.best[0];
  const whole = Math.max(sweep.budget ?? 0, sweep.trials);
  const tiles = [
    tile(`Best ${objective(sweep.objective)}`, best ? figure(best.value) : "–", best ? `trial ${best.trial}${guessing(sweep)}` : "no trial ended ok yet"),
    tile("Trials that ended", count(sweep.finished), whole ? `of ${count(whole)}` : ""),
    tile("In training", count(sweep.training), sweep.waiting ? `${count(sweep.waiting)} waiting` : ""),
    tile("State", element("span", { id: "state" }, state(sweep, now)), timeLeft(sweep, now)),
  ];
  const parts = ENDINGS.map((name) => ({ name: spaced(name), kind: name, count: sweep.outcomes[name] ?? 0 }));
  const left = { name: "to come", kind: "left", count: Math.max(0, whole - sweep.finished) };
  const legend = [...parts, left].filter((part) => part.count > 0);
  fill(
    section,
    element("p", { class: "quiet" }, sweep.words),
    element("dl", { class: "tiles" }, tiles),
    ...warnings(sweep),
    element("h3", {}, "Trials by outcome"),
    bar([...parts, left]),
    element(
      "ul",
      { class: "legend" },
      legend.map((part) => element("li", {}, element("span", { class: "swatch", "data-kind": part.kind, "aria-hidden": "true" }), `${part.name} `, element("b", {}, count(part.count)))),
    ),
  );
}

function warnings(sweep) {
  if (!sweep.warnings.length) return [];
  const lines = sweep.warnings.map((warning) => element("li", {}, warning));
  return [element("div", { class: "warnings" }, element("h3", {}, "What makes these figures less certain"), element("ul", {}, lines))];
}

const guessing = (sweep) => (typeof sweep.guessing === "number" ? `, guessing: ${figure(sweep.guessing)}` : "");

function tile(name, value, more) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, typeof value === "string" ? element("b", {}, value) : value, more ? element("span", {}, more) : null));
}

const timeLeft = (sweep, now) => (sweep.seconds_left && isLive(sweep, now) ? `about ${duration(sweep.seconds_left)} left` : "");

const SILENCE = 900; // seconds without a change after which a sweep counts as stopped

const isOver = (sweep) => Boolean(sweep.budget) && sweep.finished >= sweep.budget;
const isSilent = (sweep, now) => now - sweep.changed > SILENCE;

// Return true if the next change, or the first one, may come at any moment.
export const isLive = (sweep, now) => !isOver(sweep) && !sweep.stopped && !isSilent(sweep, now);

// Return the state by the sweep's task, and by the ledger for a sweep that Airflow has not started.
export function state(sweep, now) {
  if (isOver(sweep)) return "all trials have ended";
  if (sweep.stopped) return "stopped: clear its task to continue";
  if (!sweep.training) return sweep.trials || isSilent(sweep, now) ? "nothing is training" : "beginning";
  return isSilent(sweep, now) ? "no change for a long time: look at the sweep's task" : "running";
}

export function leaderboard(section, sweep) {
  if (!sweep.best.length) {
    fill(section, sentence(sweep.trials ? "No trial has ended ok yet." : "No trial has begun yet."));
    return;
  }
  const names = [...new Set(sweep.best.flatMap((line) => Object.keys(line.point)))];
  const columns = [
    { title: "Rank", cell: (line) => count(line.rank) },
    { title: "Trial", cell: (line) => String(line.trial), head: true },
    { title: sentenceCase(objective(sweep.objective)), cell: (line) => element("b", {}, figure(line.value)) },
    ...names.map((name) => ({ title: sentenceCase(spaced(name)), cell: (line) => parameter(line.point[name]) })),
    { title: "Time", cell: (line) => duration(line.seconds) },
  ];
  const shown = sweep.best.length < sweep.ranked ? `The best ${count(sweep.best.length)} of ` : "";
  fill(section, table(`${shown}${several(sweep.ranked, "trial")} that ended ok`, columns, sweep.best));
}

export const sentenceCase = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Describe what is new since the last answer, for screen readers; empty if nothing important is new.
export function news(before, sweep) {
  if (!before || before.key !== sweep.key) return "";
  const [old, best] = [before.best[0], sweep.best[0]];
  const lines = [];
  if (best && best.value !== old?.value) lines.push(`New best: ${figure(best.value)}, trial ${best.trial}.`);
  if (!isOver(before) && isOver(sweep)) lines.push(`The sweep has ended: ${several(sweep.finished, "trial")}.`);
  return lines.join(" ");
}
