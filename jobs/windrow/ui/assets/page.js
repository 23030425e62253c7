// Run the page: handle the reader's choices, and poll the server in one loop per part.

import { champions } from "./champions.js";
import { fill, options, sentence } from "./dom.js";
import { heatMap } from "./heat_map.js";
import { labels, scorings } from "./scorings.js";
import { Refusal, Silence, ask, forget, isShown, now } from "./server.js";
import { isLive, leaderboard, news, progress, state as stateOf } from "./sweep.js";
import { ago, count, several } from "./words.js";

const STEP = 50;
const SECONDS = { live: 2, quiet: 30, slow: 60 };

const at = (id) => document.getElementById(id);
const given = new URLSearchParams(location.search);
const tab = given.has("dag_id") ? { dag: given.get("dag_id"), run: given.get("run_id") } : null;
const state = { experiments: [], chosen: null, key: given.get("key"), most: STEP, x: null, y: null, sweep: null };
const rounds = new Map();

// Poll a part, and show it whenever it is new. A later call for the same part replaces the loop.
function follow(place, sections, path, wanted, show, pause = () => SECONDS.slow) {
  const round = {};
  rounds.set(place, round);
  const isLast = () => rounds.get(place) === round;
  const visit = async () => {
    if (!isLast()) return;
    if (!document.hidden) await look();
    if (isLast()) setTimeout(visit, 1000 * pause());
  };
  const look = async () => {
    try {
      const values = await ask(place, path, wanted(), isLast);
      at("connection").textContent = "";
      if (values === null || !isLast()) return;
      if (values.absent) throw new Refusal(values.absent);
      show(values);
    } catch (wrong) {
      if (isLast()) excuse(place, sections, wrong);
    }
  };
  return visit();
}

// Show why a part can't be shown. If the server does not answer, keep the last values.
function excuse(place, sections, wrong) {
  if (wrong instanceof Silence && isShown(place)) {
    at("connection").textContent = wrong.message;
    return;
  }
  const known = wrong instanceof Refusal || wrong instanceof Silence;
  if (!known) console.error(wrong);
  forget(place);
  if (place === "sweep") hideSweep();
  const [first, ...others] = sections;
  if (!first) return;
  fill(at(first), sentence(known ? wrong.message : "This part could not be drawn; the browser's console has the reason."));
  for (const other of others) fill(at(other));
}

function hideSweep() {
  state.sweep = null;
  at("axes").hidden = at("more").hidden = at("all").hidden = true;
  document.querySelector(".pair").hidden = true;
}

function stop() {
  rounds.clear();
}

function showSweep(sweep) {
  const text = news(state.sweep, sweep);
  if (text) at("news").textContent = text;
  state.sweep = sweep;
  document.querySelector(".pair").hidden = false;
  progress(at("progress"), sweep, now());
  leaderboard(at("leaderboard"), sweep);
  heatMap(at("heat-map"), sweep);
  const more = Math.min(STEP, sweep.ranked - sweep.best.length);
  at("more").hidden = at("all").hidden = more <= 0;
  at("more").textContent = `Show ${count(more)} more`;
  at("all").textContent = `Show all ${count(sweep.ranked)}`;
}

function followSweep() {
  const dag = state.chosen.train;
  const wanted = () => ({ run_id: state.run, key: state.run ? null : state.key, most: state.most, x: state.x, y: state.y });
  // There is no sweep so far, but somebody may just have triggered one.
  const pause = () => (!state.sweep || isLive(state.sweep, now()) ? SECONDS.live : SECONDS.quiet);
  return follow("sweep", ["progress", "leaderboard", "heat-map"], `dags/${encodeURIComponent(dag)}/sweep`, wanted, showSweep, pause);
}

// Show an experiment's parts, except those of DAGs that the reader may not see.
function open(chosen) {
  stop();
  Object.assign(state, { chosen, sweep: null, x: null, y: null, most: STEP });
  const { train, score } = chosen;
  const whole = (dag) => `dags/${encodeURIComponent(dag)}`;
  for (const id of ["progress", "champions"]) at(id).hidden = !train;
  document.querySelector(".pair").hidden = true;
  for (const id of ["scorings", "labels"]) at(id).hidden = !score;
  at("sweep-choice").hidden = !train || Boolean(tab);
  for (const id of ["progress", "champions", "scorings", "labels"]) fill(at(id), sentence("Loading…"));
  at("paused").hidden = true;
  for (const place of ["paused", "sweep", "sweeps", "champions", "scorings", "labels"]) forget(place);
  follow("paused", [], `${whole(train ?? score)}/paused`, () => ({}), showPaused);
  if (train) {
    followSweep();
    if (!tab) follow("sweeps", [], `${whole(train)}/sweeps`, () => ({}), showSweeps);
    follow("champions", ["champions"], `${whole(train)}/champions`, () => ({}), (values) => champions(at("champions"), values));
  }
  if (score) {
    follow("scorings", ["scorings"], `${whole(score)}/scorings`, () => ({}), (values) => scorings(at("scorings"), values));
    follow("labels", ["labels"], `${whole(score)}/labels`, () => ({}), (values) => labels(at("labels"), values));
  }
}

function showPaused(values) {
  at("paused").textContent = values.sentence;
  at("paused").hidden = !values.sentence;
}

function showSweeps(values) {
  options(at("sweep"), [["", "newest"], ...values.sweeps.map((sweep) => [sweep.key, sweep.words])], state.key ?? "");
}

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = false;
  for (const part of document.querySelectorAll("main section, main .pair, #choices")) part.hidden = true;
}

function remember() {
  const address = new URLSearchParams({ experiment: state.chosen.name, ...(state.key ? { key: state.key } : {}) });
  history.replaceState(null, "", `?${address}`);
}

function openTab() {
  const found = state.experiments.find((one) => one.train === tab.dag || one.score === tab.dag);
  if (!found) {
    notice(`${tab.dag} is not one of Windrow's DAGs, so this tab has nothing to show.`);
    return;
  }
  at("choices").hidden = true;
  state.run = tab.run;
  open(found.train === tab.dag ? { ...found, score: null } : { ...found, train: null });
}

function openChosen() {
  const found = state.experiments.find((one) => one.name === given.get("experiment"));
  const chosen = found ?? state.experiments[0];
  options(at("experiment"), state.experiments.map((one) => [one.name, one.name]), chosen.name);
  open(chosen);
}

function listen() {
  at("choices").addEventListener("submit", (event) => event.preventDefault());
  at("axes").addEventListener("submit", (event) => event.preventDefault());
  at("experiment").addEventListener("change", (event) => {
    state.key = null;
    open(state.experiments.find((one) => one.name === event.target.value));
    remember();
  });
  at("sweep").addEventListener("change", (event) => {
    state.key = event.target.value || null;
    Object.assign(state, { sweep: null, x: null, y: null, most: STEP });
    followSweep();
    remember();
  });
  for (const id of ["across", "down"]) at(id).addEventListener("change", () => turn(id));
  at("more").addEventListener("click", () => lengthen(state.most + STEP));
  at("all").addEventListener("click", () => lengthen(state.sweep.ranked));
  document.addEventListener("visibilitychange", () => document.hidden || (state.chosen?.train && followSweep()));
  setInterval(tick, 1000);
}

// The axes show two different parameters: choosing the other axis's parameter swaps them.
function turn(moved) {
  const { x, y } = state.sweep.heat_map;
  const wanted = { across: at("across").value, down: at("down").value };
  if (wanted.across === wanted.down) Object.assign(wanted, moved === "across" ? { down: x } : { across: y });
  Object.assign(state, { x: wanted.across, y: wanted.down });
  followSweep();
}

async function lengthen(most) {
  const shown = state.sweep.best.length;
  state.most = most;
  await followSweep();
  at("news").textContent = `${several(state.sweep?.best.length ?? shown, "trial is", "trials are")} listed.`;
  if (at("more").hidden) at("leaderboard").querySelector(".scroll")?.focus();
}

function tick() {
  const sweep = state.sweep;
  at("freshness").textContent = sweep ? `Last change ${ago(now() - sweep.changed)}` : "";
  if (sweep && at("state")) at("state").textContent = stateOf(sweep, now());
}

async function begin() {
  listen();
  try {
    state.experiments = (await ask("experiments", "experiments")).experiments;
  } catch (wrong) {
    notice(wrong.message);
    return;
  }
  if (tab) openTab();
  else if (state.experiments.length) openChosen();
  else notice("There is no experiment that you may look at. A page in dags/experiments becomes one, once Airflow has read it.");
}

begin();
