// Fetch from Airflow's server, and tell new answers from repeated ones.

const seen = new Map();
let clock = 0; // how far the server's clock is ahead of this browser's, in seconds

export const now = () => Date.now() / 1000 + clock;
export const isShown = (place) => seen.has(place);
export const forget = (place) => seen.delete(place);

// Two errors: a part can't be shown, with a sentence for the reader; the server does not answer, so the page gets old.
export class Refusal extends Error {}
export class Silence extends Error {}

// Return the values of an answer; null if they are the same as last time for this place on the page, or if nobody
// waits for them any more: values that were not shown must not count as seen.
export async function ask(place, path, wanted = {}, isWanted = () => true) {
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== null && value !== undefined));
  const address = `api/${path}${query.size ? `?${query}` : ""}`;
  let answer;
  try {
    answer = await fetch(address, { credentials: "same-origin" });
  } catch {
    throw new Silence("Airflow's server does not answer. This page tries again by itself.");
  }
  if (answer.status === 401) throw new Refusal("Your login has ended. Log in to Airflow again, then reload this page.");
  if (answer.status === 403) throw new Refusal("You may not read the runs of this DAG.");
  if (!answer.ok) throw new Silence(`Airflow's server answered ${answer.status}; its log has the reason. This page tries again by itself.`);
  const date = Date.parse(answer.headers.get("Date") ?? "");
  if (date) clock = (date - Date.now()) / 1000;
  const tag = `${address} ${answer.headers.get("ETag")}`;
  if (seen.get(place) === tag) return null;
  const values = await answer.json();
  if (!isWanted()) return null;
  seen.set(place, tag);
  return values;
}
