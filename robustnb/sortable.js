{
  // Make a table sortable by the buttons in its head; a cell's number is in its data-value.
  const table = document.currentScript.parentElement.querySelector("table");
  const [body] = table.tBodies;
  const heads = [...table.tHead.rows[0].cells];

  // Cells without a number come last, whichever way the others go.
  const compare = (one, other, sign) => {
    if (one === undefined || other === undefined) {
      return (one === undefined) - (other === undefined);
    }
    const numbers = [Number(one), Number(other)];
    const order = numbers.some(Number.isNaN)
      ? one.localeCompare(other)
      : numbers[0] - numbers[1];
    return sign * order;
  };

  const sort = (column) => {
    const head = heads[column];
    // Numbers begin with the largest, names with the first of the alphabet.
    const first = column === 0 ? "ascending" : "descending";
    const second = column === 0 ? "descending" : "ascending";
    const chosen = head.ariaSort === first ? second : first;
    const sign = chosen === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((one, other) => compare(value(one), value(other), sign));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", chosen);
    body.append(...rows);
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });
}
