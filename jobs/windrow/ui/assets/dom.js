// Make elements from values. Text always becomes a text node, because labels and addresses come from the web.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export const unseen = (text) => element("span", { class: "unseen" }, text);

// Make a table that can be scrolled with the keyboard if it is wider than the page.
// Columns: { title, cell(row), kind: "number" | "text", head: true for the one that names its row }.
export function table(caption, columns, rows) {
  const head = columns.map((column) => element("th", { scope: "col", class: column.kind ?? "number" }, column.title));
  const lines = rows.map((row) => {
    const line = document.createElement("tr");
    for (const column of columns) {
      const kind = column.kind ?? "number";
      const cell = column.head ? element("th", { scope: "row", class: kind }) : element("td", { class: kind });
      cell.append(column.cell(row) ?? "");
      line.append(cell);
    }
    return line;
  });
  const made = element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, head)),
    element("tbody", {}, lines),
  );
  return element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption }, made);
}

// Make a bar of the parts of a whole. Screen readers skip it, because the text next to it says the same.
export function bar(parts) {
  const whole = parts.reduce((sum, part) => sum + part.count, 0);
  const pieces = parts
    .filter((part) => part.count > 0)
    .map((part) => {
      const piece = element("span", { "data-kind": part.kind, title: `${part.name} ${part.count}` });
      piece.style.setProperty("flex-grow", String(part.count / Math.max(1, whole)));
      return piece;
    });
  return element("div", { class: "bar", "aria-hidden": "true" }, pieces);
}

// Update a select but keep the reader's choice; change nothing if the options are the same.
export function options(select, pairs, chosen) {
  const wanted = JSON.stringify(pairs);
  if (select.dataset.pairs !== wanted) {
    select.dataset.pairs = wanted;
    select.replaceChildren(...pairs.map(([value, text]) => element("option", { value }, text)));
  }
  if (chosen !== undefined) select.value = chosen;
}

// Fill a section. A table that is scrolled, or has the focus, stays in place: only its content is replaced.
export function fill(section, ...content) {
  const body = section.querySelector(".body");
  const old = [...body.children];
  const alike = old.length === content.length && old.every((child, place) => child.className === content[place].className);
  if (!alike) {
    body.replaceChildren(...content);
    return;
  }
  for (const [place, child] of old.entries()) {
    const next = content[place];
    if (child.className === "scroll") {
      child.setAttribute("aria-label", next.getAttribute("aria-label"));
      child.replaceChildren(...next.childNodes);
    } else {
      child.replaceWith(next);
    }
  }
}

export const sentence = (text) => element("p", { class: "note" }, text);
