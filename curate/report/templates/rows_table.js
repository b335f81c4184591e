/* A table of rows with search, filters, sorting and pages, from data that stands in the page.

   An element with data-rows-table="rows-data", hidden without this script, takes the table; the script
   element of type application/json with the id rows-data holds {title, columns, command}:

   title     what the table is called, for those who do not see it
   columns   [{key, title, kind, values, labels}], all of equal length, null where a row has no value:
             "id"      short texts; those of the first column tell rows apart
             "label"   places in `labels`; each such column has a filter, and is called `key` in SQL
             "number"  numbers, sorted by size
             "text"    texts, written below the row under their `title`
   command   what lists rows that meet a condition in SQL, to which one is appended; none if empty

   A click on an element with data-rows-filter='{"source": "p3", "stage": "fuzzy"}' sets these filters, leaves
   the others empty, and brings the table into view. Texts only ever become text nodes. */
"use strict"
{
  const PAGE = 25
  /* Longer texts are folded, in characters. */
  const LONG = 300
  const words = (value) => Number(value).toLocaleString("en-US")

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
    element.append(...children)
    return element
  }

  const figure = (value) =>
    Number.isInteger(value) ? words(value) : value.toPrecision(3).replace("-", "\u2212")

  class RowsTable {
    constructor(root, data) {
      this.root = root
      this.columns = data.columns
      this.cells = data.columns.filter((one) => one.kind !== "text")
      this.texts = data.columns.filter((one) => one.kind === "text")
      this.command = data.command
      this.size = data.columns[0].values.length
      this.filters = new Map()
      this.sorted = { column: null, down: false }
      this.page = 0
      this.searched = data.columns.filter((one) => one.kind === "id" || one.kind === "text")
      this.build(data.title)
      this.update()
      root.hidden = false
    }

    build(title) {
      this.search = make("input", { type: "search", autocomplete: "off", spellcheck: "false" })
      const fields = [make("label", { class: "wide" }, "Search", this.search)]
      let timer
      this.search.addEventListener("input", () => {
        clearTimeout(timer)
        timer = setTimeout(() => this.show(0), 120)
      })
      for (const column of this.columns.filter((one) => one.kind === "label" && one.labels.length > 1)) {
        const select = make("select", {}, make("option", { value: "" }, "all"), ...this.options(column))
        select.addEventListener("change", () => this.show(0))
        this.filters.set(column, select)
        fields.push(make("label", {}, column.title, select))
      }
      const reset = make("button", { type: "reset" }, "Show all")
      this.form = make("form", { class: "tools", role: "search", "aria-label": title }, ...fields, reset)
      this.form.addEventListener("submit", (event) => event.preventDefault())
      this.form.addEventListener("reset", () => setTimeout(() => this.show(0)))
      this.count = make("p", { class: "facts", role: "status" })
      this.heads = this.cells.map((column) => this.head(column))
      this.table = make("table", {}, make("caption", { class: "hidden" }, title),
        make("thead", {}, make("tr", {}, ...this.heads)))
      const scroll = make("div", { class: "scroll" }, this.table)
      this.back = make("button", { type: "button" }, "Previous")
      this.next = make("button", { type: "button" }, "Next")
      this.back.addEventListener("click", () => this.show(this.page - 1))
      this.next.addEventListener("click", () => this.show(this.page + 1))
      this.place = make("span", { class: "quiet" })
      const pages = make("nav", { class: "pages", "aria-label": "Pages of the table" }, this.back, this.place, this.next)
      this.line = make("code")
      this.hint = make("p", { class: "note" }, "From the command line, over all rows and all of their texts: ", this.line)
      this.root.replaceChildren(this.form, this.count, scroll, pages, this.hint)
      document.addEventListener("click", (event) => this.follow(event))
    }

    options(column) {
      const counts = new Array(column.labels.length).fill(0)
      for (const value of column.values) if (value !== null) counts[value] += 1
      return column.labels.map((label, place) =>
        make("option", { value: String(place) }, `${label} (${words(counts[place])})`))
    }

    head(column) {
      const button = make("button", { type: "button" }, column.title)
      button.addEventListener("click", () => {
        const again = this.sorted.column === column
        this.sorted = again && this.sorted.down ? { column: null } : { column, down: again }
        this.show(0)
      })
      return make("th", { scope: "col", ...(column.kind === "number" ? { class: "n" } : {}) }, button)
    }

    /* Take the filters of the element that was clicked, as a link to this table. */
    follow(event) {
      const link = event.target.closest("[data-rows-filter]")
      if (!link) return
      event.preventDefault()
      const labels = JSON.parse(link.dataset.rowsFilter)
      this.search.value = ""
      for (const [column, select] of this.filters) {
        const place = column.labels.indexOf(labels[column.key])
        select.value = place < 0 ? "" : String(place)
      }
      this.show(0)
      this.root.scrollIntoView()
      this.search.focus({ preventScroll: true })
    }

    show(page) {
      this.page = page
      this.update()
    }

    /* The places of all rows that pass, in the chosen order. */
    rows() {
      const text = this.search.value.trim().toLowerCase()
      const chosen = [...this.filters].filter(([, select]) => select.value !== "")
        .map(([column, select]) => [column.values, Number(select.value)])
      const passing = []
      for (let row = 0; row < this.size; row += 1) {
        if (chosen.every(([values, place]) => values[row] === place) && (!text || this.holds(row, text))) passing.push(row)
      }
      return this.sorted.column ? passing.sort(this.order()) : passing
    }

    holds(row, text) {
      return this.searched.some((column) => (column.values[row] ?? "").toLowerCase().includes(text))
    }

    order() {
      const { column, down } = this.sorted
      const value = (row) => column.kind === "label" && column.values[row] !== null
        ? column.labels[column.values[row]] : column.values[row]
      return (one, other) => {
        const [left, right] = [value(one), value(other)]
        if (left === right) return one - other
        if (left === null || right === null) return left === null ? 1 : -1
        return (left < right) === down ? 1 : -1
      }
    }

    update() {
      const rows = this.rows()
      const pages = Math.max(1, Math.ceil(rows.length / PAGE))
      this.page = Math.min(this.page, pages - 1)
      const start = this.page * PAGE
      this.count.textContent = `${words(rows.length)} of ${words(this.size)} rows`
      this.place.textContent = `Page ${words(this.page + 1)} of ${words(pages)}`
      this.back.disabled = this.page === 0
      this.next.disabled = this.page === pages - 1
      this.heads.forEach((head, place) => {
        if (this.cells[place] !== this.sorted.column) head.removeAttribute("aria-sort")
        else head.setAttribute("aria-sort", this.sorted.down ? "descending" : "ascending")
      })
      for (const body of [...this.table.tBodies]) body.remove()
      this.table.append(...rows.slice(start, start + PAGE).map((row) => this.row(row)))
      this.hint.hidden = !this.command
      this.line.textContent = this.command ? this.commandLine() : ""
    }

    row(row) {
      const cells = this.cells.map((column) => this.cell(column, row))
      const texts = this.texts.filter((one) => one.values[row]).map((column) =>
        make("div", { class: "turn" }, make("span", { class: "role" }, column.title), this.text(column.values[row])))
      const below = make("td", { colspan: String(cells.length) }, make("div", { class: "below" }, ...texts))
      return make("tbody", {}, make("tr", {}, ...cells), ...(texts.length ? [make("tr", {}, below)] : []))
    }

    text(value) {
      const text = (part) => make("span", { class: "text", dir: "auto" }, part)
      if (value.length <= LONG) return text(value)
      const beginning = `${value.slice(0, LONG)}\u2026`
      return make("details", {}, make("summary", { dir: "auto" }, beginning), text(value))
    }

    cell(column, row) {
      const value = column.values[row]
      if (column === this.cells[0]) return make("th", { scope: "row" }, make("code", { class: "id" }, make("bdi", {}, value)))
      if (value === null) return make("td")
      if (column.kind === "id") return make("td", {}, make("bdi", {}, value))
      if (column.kind === "number") return make("td", { class: "n" }, figure(value))
      return make("td", {}, make("bdi", {}, column.labels[value]))
    }

    /* The command that lists what the filters leave. */
    commandLine() {
      const parts = [...this.filters].filter(([, select]) => select.value !== "")
        .map(([column, select]) => `${column.key} = ${quoted(column.labels[Number(select.value)])}`)
      const text = this.search.value.trim().toLowerCase()
      if (text) parts.push(`lower(prompt || response) LIKE ${quoted(`%${text}%`)}`)
      return parts.length ? `${this.command} --where "${parts.join(" AND ").replace(/[\\"$`]/g, "\\$&")}"` : this.command
    }
  }

  const quoted = (text) => `'${text.replaceAll("'", "''")}'`

  for (const root of document.querySelectorAll("[data-rows-table]")) {
    new RowsTable(root, JSON.parse(document.getElementById(root.dataset.rowsTable).textContent))
  }
}
