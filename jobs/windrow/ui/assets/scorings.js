// Show the last scoring runs by status, and the newest labels with their pictures.

import { bar, element, fill, sentence, table } from "./dom.js";
import { count, percent, spaced, several, time } from "./words.js";

const GROUPS = {
  "least sure": ["Least sure", "The lowest scores of the newest run, lowest first."],
  "by label": ["By label", "Frequent labels of the newest run, up to two of each."],
  "at random": ["At random", "Others of a sample of the newest run."],
};

const SHOWN = 0.01; // least probability of a second label that is shown

export function scorings(section, values) {
  const columns = [
    { title: "Run", cell: (run) => time(run.at), kind: "text", head: true },
    { title: "URLs", cell: (run) => count(run.rows) },
    { title: "Labelled", cell: (run) => percent(run.ok_share) },
    { title: "By status", cell: (run) => statuses(run), kind: "text wide" },
    { title: "Images per second", cell: (run) => (run.images_per_second === null ? "–" : count(run.images_per_second)) },
    { title: "Labels", cell: (run) => drift(run.labels), kind: "text" },
    { title: "Scores", cell: (run) => drift(run.scores), kind: "text" },
    { title: "Version", cell: (run) => run.model_version ?? "–" },
  ];
  if (values.nights.some((run) => run.truth)) columns.splice(3, 0, { title: "Right by the feed", cell: (run) => accuracy(run.truth), kind: "text" });
  const parts = [];
  if (values.withheld) parts.push(sentence(withheld(values.withheld)));
  const [newest] = values.nights;
  if (newest && newest.feed.records + newest.feed.files_refused > 0) parts.push(...whatWasRead(newest));
  if (values.nights.length) parts.push(table(values.nights.length > 1 ? `The last ${count(values.nights.length)} scoring runs, newest first` : "The only scoring run so far", columns, values.nights));
  fill(section, ...parts);
}

function withheld(run) {
  return `${several(run.rows, "row")} of ${time(run.at)} are withheld, because labels or scores have moved beyond the page's drift gate. Trigger the DAG with a larger gate to commit them, or correct the feed or the model and trigger it again.`;
}

function whatWasRead({ feed, new: fresh }) {
  const columns = [
    { title: "File", cell: (found) => found.file, kind: "text", head: true },
    { title: "Line", cell: (found) => (found.line === null ? "–" : count(found.line)) },
    { title: "Reason", cell: (found) => found.reason, kind: "text wide" },
  ];
  const refused = feed.files_refused ? ` It refused ${several(feed.files_refused, "file")} of the feed.` : "";
  const words = `The newest run read ${several(feed.records, "record")} of the feed: ${count(fresh)} were new, ${count(feed.known)} already had a row, ${count(feed.copies)} were copies, and ${count(feed.without_url)} had no URL.${refused}`;
  return feed.refused.length ? [sentence(words), table("What was not read of the feed", columns, feed.refused)] : [sentence(words)];
}

function statuses(run) {
  const pairs = Object.entries(run.statuses);
  const parts = pairs.map(([status, number]) => ({ name: spaced(status), kind: status === "ok" ? "ok" : "without", count: number }));
  const words = pairs.map(([status, number]) => `${count(number)} ${spaced(status)}`).join(", ");
  return element("div", {}, bar(parts), element("span", { class: "small" }, words));
}

const accuracy = (truth) => (truth ? `${percent(truth.accuracy)} of ${count(truth.images)} (${percent(truth.low)} to ${percent(truth.high)}; guessing ${percent(truth.baseline)})` : "–");

const drift = (moved) => (moved ? `${moved.word} (PSI ${moved.psi.toFixed(2)})` : "–");

export function labels(section, values) {
  const groups = Object.entries(GROUPS).map(([group, [title, note]]) => [title, note, values.pictures.filter((picture) => picture.group === group)]);
  const galleries = groups.filter(([, , pictures]) => pictures.length).flatMap(([title, note, pictures]) => [
    element("h3", {}, title),
    element("p", { class: "quiet" }, note),
    element("ul", { class: "gallery" }, pictures.map(card)),
  ]);
  if (!galleries.length) galleries.push(sentence("The newest run has no pictures; the next one will."));
  const columns = [
    { title: "Address", cell: (row) => row.address, kind: "text wide", head: true },
    { title: "Status", cell: (row) => spaced(row.status), kind: "text" },
    { title: "Label", cell: (row) => row.label ?? "–", kind: "text" },
    { title: "Score", cell: (row) => percent(row.score) },
    { title: "Version", cell: (row) => row.model_version ?? "–" },
    { title: "Scored", cell: (row) => time(row.at), kind: "text" },
  ];
  fill(section, ...galleries, element("h3", {}, "Newest rows"), table(`The ${several(values.rows.length, "row")} that were scored last`, columns, values.rows));
}

function card(picture) {
  const exact = picture.image.startsWith("data:image/png") ? "exact" : null;
  const { image: src, width, height, label } = picture;
  const second = picture.second && picture.second_score >= SHOWN ? `${percent(picture.second_score)} for ${picture.second}` : null;
  return element(
    "li",
    { title: picture.address },
    element("img", { class: exact, src, width, height, alt: `labelled ${label}, from ${picture.address}` }),
    element("b", {}, label),
    element("span", { class: "small" }, percent(picture.score)),
    second && element("span", { class: "small" }, second),
  );
}
