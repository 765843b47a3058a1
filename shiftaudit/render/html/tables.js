"use strict";
document.querySelectorAll("table.sortable").forEach((table) => {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.children[column].dataset.value;
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return down ? -order : order;
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(compare));
    });
  });
});
document.querySelectorAll("table.filterable").forEach((table) => {
  const rows = [...table.tBodies[0].rows];
  const bar = document.createElement("p");
  const text = document.createElement("input");
  text.type = "search";
  text.placeholder = "name or class";
  text.setAttribute("aria-label", "show images whose name or class contains");
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", "which images");
  const kinds = { all: () => true, changed: (row) => row.dataset.changed > 0, stable: (row) => !(row.dataset.changed > 0) };
  if (rows.some((row) => row.dataset.wrong > 0)) kinds.wrong = (row) => row.dataset.wrong > 0;
  Object.keys(kinds).forEach((kind) => choice.append(new Option(kind)));
  const count = document.createElement("span");
  const filter = () => {
    const wanted = text.value.toLowerCase();
    rows.forEach((row) => {
      row.hidden = !(kinds[choice.value](row) && row.textContent.toLowerCase().includes(wanted));
    });
    count.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length;
  };
  text.addEventListener("input", filter);
  choice.addEventListener("change", filter);
  filter();
  bar.className = "filter small";
  bar.append(text, choice, count);
  table.parentElement.before(bar);
});
