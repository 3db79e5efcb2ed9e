// A click on a heading sorts its table: numbers by their first number, what is no number last. Printing opens all folds.
const key = (row, column) => {
  const text = row.cells[column].innerText.trim();
  const found = text.replaceAll("−", "-").replaceAll(",", "").match(/^[^\d.+-]*([+-]?\d*\.?\d+(?:e[+-]?\d+)?)/);
  return found ? Number(found[1]) : column ? Infinity : text;
};
document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const sense = head.ariaSort === "ascending" ? -1 : 1;
    const rows = [...table.tBodies[0].rows].map((row) => [column ? key(row, column) : row.cells[0].innerText, row]);
    rows.sort(([a], [b]) => (a < b ? -sense : a > b ? sense : 0));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.ariaSort = sense > 0 ? "ascending" : "descending";
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }));
});
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((fold) => { fold.open = true; });
});
addEventListener("afterprint", () => folded.forEach((fold) => { fold.open = false; }));
