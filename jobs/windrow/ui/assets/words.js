// Format numbers, times and the ledger's terms for display.

const whole = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export const count = (number) => whole.format(number ?? 0);
export const several = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
export const percent = (share, digits = 1) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`);
export const time = (seconds) => (seconds ? moment.format(new Date(1000 * seconds)) : "–");
export const spaced = (word) => word.replaceAll("_", " ");

export const objective = (name) => ({ val_accuracy: "validation accuracy", val_loss: "validation loss", val_macro_f1: "validation macro-F1" })[name] ?? spaced(name);

export const figure = (value) => (value === null || value === undefined ? "–" : value.toFixed(4));

export function parameter(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(3)));
}

export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function ago(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
}

export const ENDINGS = ["ok", "pruned", "diverged", "timeout", "out_of_memory", "lost", "failed"];
