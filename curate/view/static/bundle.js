// The map of a bundle: the points stand in the page, and so do the texts of the rows that its table holds.
import { Hint, Plane } from "./plane.js";

const MOST_LISTED = 50;
const FATES = ["selected", "not selected", "dropped", "target"];

const canvas = document.getElementById("map");

const textsOfRows = () => {
  const { columns } = JSON.parse(document.getElementById("rows-data").textContent);
  const column = (key) => columns.find((one) => one.key === key).values;
  const [prompts, responses] = [column("prompt"), column("response")];
  return new Map(column("row_id").map((id, i) => [id, `${prompts[i] ?? ""} | ${responses[i] ?? ""}`]));
};

const cell = (name, text, type) => {
  const element = document.createElement(name);
  if (type) element.className = type;
  element.append(text);
  return element;
};

const showMap = () => {
  const points = JSON.parse(document.getElementById("points-data").textContent);
  const texts = textsOfRows();
  const hint = new Hint(document.getElementById("hint"), canvas);
  const marks = [...document.querySelectorAll("#counts [data-colour]")];
  const brushed = document.getElementById("map-rows");
  const rowOf = (i) => {
    const row = document.createElement("tr");
    const id = cell("bdi", points.id[i]);
    const head = cell("th", cell("code", id, "id"));
    head.scope = "row";
    const fate = FATES[points.fate[i]];
    row.append(head, cell("td", cell("span", fate, `fate ${fate.replace(" ", "_")}`)), cell("td", cell("bdi", points.source[i])),
      cell("td", cell("bdi", (texts.get(points.id[i]) ?? "").slice(0, 200))));
    return row;
  };
  const list = (area) => {
    const numbers = area ? plane.inside(area) : [];
    const counts = new Array(marks.length).fill(0);
    for (const i of numbers) counts[points.category[i]] += 1;
    document.querySelectorAll("#counts tbody tr").forEach((row, category) => {
      row.cells[2].textContent = area ? counts[category].toLocaleString("en-US") : "";
    });
    brushed.hidden = !area;
    brushed.querySelector("[role=status]").textContent = `${numbers.length.toLocaleString("en-US")} points in the area`
      + (numbers.length > MOST_LISTED ? `, of which the first ${MOST_LISTED} are here` : "");
    brushed.querySelector("tbody").replaceChildren(...numbers.slice(0, MOST_LISTED).map(rowOf));
  };
  const plane = new Plane(canvas, {
    shades: () => marks.map((mark) => getComputedStyle(mark).color),
    brush: (area) => list(area),
    hover: (i, left, top) => {
      hint.hide();
      if (i < 0) return;
      const text = (texts.get(points.id[i]) ?? "").slice(0, 300);
      hint.say([points.id[i], `${FATES[points.fate[i]]} · ${points.source[i]}`, text], left, top);
    },
  });
  brushed.querySelector("button").addEventListener("click", () => {
    plane.mark(null);
    list(null);
  });
  document.getElementById("area").addEventListener("submit", (event) => {
    event.preventDefault();
    const values = ["left", "right", "bottom", "top"].map((name) => event.target.elements[name].value.trim());
    const numbers = values.map((value, i) => (value === "" ? [-1e9, 1e9, -1e9, 1e9][i] : Number(value)));
    if (numbers.some(Number.isNaN)) return;
    plane.mark(numbers);
    list(numbers);
  });
  document.getElementById("area").hidden = false;
  plane.steer(document.querySelector(".plane-tools"));
  plane.show(points);
};

if (canvas) showMap();
