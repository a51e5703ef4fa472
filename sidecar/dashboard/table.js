// A table that is shown again and again: rows keep their elements, so that focus, selection and a reader's place stay.

// Columns are `{ name, text(row), title(row), fill(cell, row), number, head }`: `text` gives what a cell says, or `fill` builds it
// once per change of `text`. The one with `head` names the row; one that is `whole` stays on one line; one that is `wide` has a line of
// its own on a small screen.
export class Table {
  #body;
  #columns;
  #key;
  #rows = new Map();
  #none;

  // On a page narrower than `blocksBelow` pixels each row is a block, and each of its cells says its column.
  constructor(table, { columns, key, none, blocksBelow = 720 }) {
    this.#columns = columns;
    this.#key = key;
    const small = matchMedia(`(max-width: ${blocksBelow}px)`);
    const blocks = () => table.classList.toggle("blocks", small.matches);
    small.addEventListener("change", blocks);
    blocks();
    // The roles keep this a table for those who listen to it, also where rows are shown as blocks.
    table.setAttribute("role", "table");
    const head = table.createTHead();
    head.setAttribute("role", "rowgroup");
    const line = head.insertRow();
    line.setAttribute("role", "row");
    for (const column of columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.setAttribute("role", "columnheader");
      cell.textContent = column.name;
      if (column.number) cell.className = "number";
      line.append(cell);
    }
    this.#body = table.createTBody();
    this.#body.setAttribute("role", "rowgroup");
    this.#none = document.createElement("p");
    this.#none.className = "none";
    this.#none.textContent = none;
    table.after(this.#none);
    this.show([]);
  }

  show(rows) {
    const left = new Map(this.#rows);
    let place = this.#body.firstElementChild;
    for (const row of rows) {
      const key = String(this.#key(row));
      const shown = left.get(key) ?? this.#make(key);
      left.delete(key);
      this.#rows.set(key, shown);
      if (shown.element === place) place = place.nextElementSibling;
      else this.#body.insertBefore(shown.element, place);
      this.#update(shown, row);
    }
    for (const [key, shown] of left) {
      shown.element.remove();
      this.#rows.delete(key);
    }
    this.#none.hidden = rows.length > 0;
    this.#body.parentElement.hidden = rows.length === 0;
  }

  #make(key) {
    const element = document.createElement("tr");
    element.setAttribute("role", "row");
    element.dataset.key = key;
    const cells = this.#columns.map((column) => {
      const cell = document.createElement(column.head ? "th" : "td");
      if (column.head) cell.scope = "row";
      cell.setAttribute("role", column.head ? "rowheader" : "cell");
      cell.dataset.label = column.name;
      if (column.number) cell.classList.add("number");
      if (column.whole) cell.classList.add("whole");
      if (column.wide) cell.classList.add("wide");
      element.append(cell);
      return { cell, text: undefined };
    });
    return { element, cells };
  }

  #update(shown, row) {
    this.#columns.forEach((column, index) => {
      const place = shown.cells[index];
      const text = column.text(row);
      if (place.text === text) return;
      place.text = text;
      if (column.fill) column.fill(place.cell, row, text);
      else place.cell.textContent = text;
      if (column.title) place.cell.title = column.title(row) ?? "";
    });
  }
}

// A word that has a colour of its own, for those who see it.
export function badge(cell, text, tone) {
  const mark = document.createElement("span");
  mark.className = "badge";
  mark.dataset.tone = tone;
  mark.textContent = text;
  cell.replaceChildren(mark);
}
