"use strict";
// Tables that sort by a click or key on a heading, filter as one types, and copy what is shown with exact values.
(function () {
  function exact(cell) {
    const data = cell.querySelector("data");
    return data ? data.value : cell.textContent.trim();
  }

  function key(cell) {
    const data = cell.querySelector("data");
    return data ? Number(data.value) : null;
  }

  // Numbers by size, then texts; what is empty comes last either way.
  function compare(one, other, sign) {
    const a = key(one), b = key(other);
    if (a !== null && b !== null) return sign * (a - b);
    if (a !== null || b !== null) return a !== null ? -1 : 1;
    return sign * one.textContent.localeCompare(other.textContent, "en", { numeric: true });
  }

  function sort(table, heading, column) {
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    rows.sort((p, q) => compare(p.cells[column], q.cells[column], rising ? 1 : -1));
    body.append(...rows);
  }

  function filter(table, words, status) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
      if (!row.hidden) left += 1;
    }
    status.textContent = wanted.length ? left + " of " + table.tBodies[0].rows.length + " rows" : "";
  }

  function shown(table) {
    const head = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);
    const rows = Array.from(table.tBodies[0].rows).filter((row) => !row.hidden);
    return [head].concat(rows.map((row) => Array.from(row.cells, exact)))
      .map((cells) => cells.join("\t")).join("\n");
  }

  // The clipboard of pages opened from a file may be closed to scripts: then through a selection.
  function bySelection(text) {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }

  async function copy(table, status) {
    const text = shown(table);
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch (error) {
      done = bySelection(text);
    }
    status.textContent = done ? "Copied" : "The browser refused to copy";
  }

  function tools(table) {
    Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(table, heading, column));
    });
    const bar = document.createElement("div");
    const field = document.createElement("input");
    const button = document.createElement("button");
    const status = document.createElement("span");
    const name = table.caption.textContent;
    bar.className = "bar";
    field.type = "search";
    field.placeholder = "Filter";
    field.setAttribute("aria-label", "Filter: " + name);
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy: " + name);
    status.setAttribute("role", "status");
    field.addEventListener("input", () => filter(table, field.value, status));
    button.addEventListener("click", () => copy(table, status));
    bar.append(field, button, status);
    table.parentElement.before(bar);
  }

  document.querySelectorAll("table.tools").forEach(tools);
})();
