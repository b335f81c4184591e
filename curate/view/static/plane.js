// A plane of points on a canvas: draws them, zooms and moves, says which is near the pointer, and brushes an area.
//
//   const plane = new Plane(canvas, { shades: () => ["#0b5fae", ...], hover, brush });
//   plane.show({ x: [...], y: [...], fate: [...], category: [...] });
//
// `fate` chooses the shape (0 selected, 1 not selected, 2 dropped, 3 target), `category` the shade.

const NEAR = 9;
const MARGIN = 0.04;
const MOST_ZOOM = 400;
const CELLS = 128;
const MANY = 20000;
const [SELECTED, OTHER, DROPPED, TARGET] = [0, 1, 2, 3];
// Where many points lie upon one another, the rarer ones are drawn last.
const ORDER = [OTHER, DROPPED, SELECTED, TARGET];

export class Plane {
  constructor(canvas, { shades, hover, brush }) {
    Object.assign(this, { canvas, shades, onHover: hover, onBrush: brush });
    this.pen = canvas.getContext("2d");
    this.points = { x: [], y: [], fate: [], category: [] };
    this.extent = [0, 1, 0, 1];
    this.view = { x: 0.5, y: 0.5, zoom: 1 };
    this.area = null;
    this.moving = false;
    this.hovered = -1;
    this.grid = new Map();
    this.listen();
  }

  show(points) {
    this.points = points;
    this.extent = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < points.x.length; i += 1) {
      const [x, y] = [points.x[i], points.y[i]];
      this.extent = [Math.min(this.extent[0], x), Math.max(this.extent[1], x),
        Math.min(this.extent[2], y), Math.max(this.extent[3], y)];
    }
    this.grid = new Map();
    for (let i = 0; i < points.x.length; i += 1) {
      const key = this.cell(points.x[i], points.y[i]).join();
      if (!this.grid.has(key)) this.grid.set(key, []);
      this.grid.get(key).push(i);
    }
    this.whole();
  }

  whole() {
    const [left, right, bottom, top] = this.extent;
    this.view = { x: (left + right) / 2, y: (bottom + top) / 2, zoom: 1 };
    this.draw();
  }

  get size() {
    return { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  get scale() {
    const [left, right, bottom, top] = this.extent;
    const spread = Math.max((right - left) / this.size.width, (top - bottom) / this.size.height);
    return this.view.zoom / (spread * (1 + 2 * MARGIN) || 1);
  }

  toScreen(x, y) {
    return [this.size.width / 2 + (x - this.view.x) * this.scale,
      this.size.height / 2 - (y - this.view.y) * this.scale];
  }

  toMap(left, top) {
    return [this.view.x + (left - this.size.width / 2) / this.scale,
      this.view.y - (top - this.size.height / 2) / this.scale];
  }

  cell(x, y) {
    const [left, right, bottom, top] = this.extent;
    return [Math.floor(((x - left) / (right - left || 1)) * CELLS),
      Math.floor(((y - bottom) / (top - bottom || 1)) * CELLS)];
  }

  // The number of the point nearest to a place of the canvas, -1 where none is near.
  nearest(left, top) {
    const [x, y] = this.toMap(left, top);
    const reach = NEAR / this.scale;
    const [fromAcross, fromUp] = this.cell(x - reach, y - reach);
    const [toAcross, toUp] = this.cell(x + reach, y + reach);
    let [best, least] = [-1, reach * reach];
    for (let across = fromAcross; across <= toAcross; across += 1) {
      for (let up = fromUp; up <= toUp; up += 1) {
        for (const i of this.grid.get(`${across},${up}`) ?? []) {
          const distance = (this.points.x[i] - x) ** 2 + (this.points.y[i] - y) ** 2;
          if (distance < least) [best, least] = [i, distance];
        }
      }
    }
    return best;
  }

  inside(area) {
    const { x, y } = this.points;
    const numbers = [];
    for (let i = 0; i < x.length; i += 1) {
      if (x[i] >= area[0] && x[i] <= area[1] && y[i] >= area[2] && y[i] <= area[3]) numbers.push(i);
    }
    return numbers;
  }

  zoomBy(factor, left = this.size.width / 2, top = this.size.height / 2) {
    const [x, y] = this.toMap(left, top);
    this.view.zoom = Math.min(Math.max(this.view.zoom * factor, 1), MOST_ZOOM);
    const [across, up] = this.toMap(left, top);
    this.view.x += x - across;
    this.view.y += y - up;
    this.draw();
  }

  mark(area) {
    this.area = area;
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.drawing);
    this.drawing = requestAnimationFrame(() => {
      const ratio = window.devicePixelRatio || 1;
      const { width, height } = this.size;
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.pen.lineWidth = 1.3;
      const shades = this.shades();
      for (const fate of ORDER) this.drawFate(fate, shades);
      this.drawArea();
      this.canvas.dataset.drawn = String(this.points.x.length);
    });
  }

  drawFate(fate, shades) {
    const { points, pen, scale, view, size } = this;
    const count = points.x.length;
    const radius = (count > MANY ? 1 : count > 3000 ? 1.6 : 2.4) * Math.min(Math.sqrt(view.zoom), 2.5);
    for (let category = 0; category < shades.length; category += 1) {
      pen.beginPath();
      for (let i = 0; i < count; i += 1) {
        if (points.fate[i] !== fate || points.category[i] !== category) continue;
        const x = size.width / 2 + (points.x[i] - view.x) * scale;
        const y = size.height / 2 - (points.y[i] - view.y) * scale;
        if (x < -9 || y < -9 || x > size.width + 9 || y > size.height + 9) continue;
        this.trace(fate, x, y, radius);
      }
      pen.strokeStyle = pen.fillStyle = shades[category];
      if (fate === DROPPED) pen.stroke();
      else pen.fill();
    }
  }

  trace(fate, x, y, radius) {
    const { pen } = this;
    const r = radius + 0.6;
    if (fate === DROPPED) {
      pen.moveTo(x - r, y - r);
      pen.lineTo(x + r, y + r);
      pen.moveTo(x - r, y + r);
      pen.lineTo(x + r, y - r);
    } else if (fate === TARGET) {
      pen.moveTo(x, y - 2 * r);
      pen.lineTo(x + 2 * r, y);
      pen.lineTo(x, y + 2 * r);
      pen.lineTo(x - 2 * r, y);
      pen.closePath();
    } else if (this.points.x.length > MANY) {
      const half = fate === SELECTED ? 2 * radius : radius;
      pen.rect(x - half, y - half, 2 * half, 2 * half);
    } else {
      const full = fate === SELECTED ? radius + 0.8 : radius;
      pen.moveTo(x + full, y);
      pen.arc(x, y, full, 0, 7);
    }
  }

  drawArea() {
    if (!this.area) return;
    const { pen } = this;
    const [left, top] = this.toScreen(this.area[0], this.area[3]);
    const [right, bottom] = this.toScreen(this.area[1], this.area[2]);
    pen.strokeStyle = pen.fillStyle = getComputedStyle(this.canvas).getPropertyValue("--accent");
    pen.globalAlpha = 0.1;
    pen.fillRect(left, top, right - left, bottom - top);
    pen.globalAlpha = 1;
    pen.lineWidth = 1.5;
    pen.strokeRect(left, top, right - left, bottom - top);
  }

  listen() {
    const { canvas } = this;
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      const moves = event.shiftKey || this.moving;
      drag = { left: event.offsetX, top: event.offsetY, x: this.view.x, y: this.view.y, moves, far: false };
      this.hover(-1);
    });
    canvas.addEventListener("pointermove", (event) => {
      const [left, top] = [event.offsetX, event.offsetY];
      if (!drag) return this.hover(this.nearest(left, top), left, top);
      drag.far ||= Math.hypot(left - drag.left, top - drag.top) > 4;
      if (drag.moves) {
        this.view.x = drag.x - (left - drag.left) / this.scale;
        this.view.y = drag.y + (top - drag.top) / this.scale;
      } else if (drag.far) {
        const [one, other] = [this.toMap(drag.left, drag.top), this.toMap(left, top)];
        this.area = [Math.min(one[0], other[0]), Math.max(one[0], other[0]),
          Math.min(one[1], other[1]), Math.max(one[1], other[1])];
      }
      return this.draw();
    });
    canvas.addEventListener("pointerup", () => {
      const ended = drag;
      drag = null;
      if (ended?.far && !ended.moves) this.onBrush(this.area);
    });
    canvas.addEventListener("pointercancel", () => { drag = null; });
    canvas.addEventListener("pointerleave", () => this.hover(-1));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
    }, { passive: false });
    window.addEventListener("resize", () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  hover(point, left, top) {
    if (point === this.hovered) return;
    this.hovered = point;
    this.onHover(point, left, top);
  }

  // Let the buttons and the choice of what a drag does work.
  steer(tools) {
    tools.hidden = false;
    tools.addEventListener("click", (event) => {
      const how = event.target.dataset.zoom;
      if (how === "all") this.whole();
      else if (how) this.zoomBy(how === "in" ? 1.5 : 1 / 1.5);
    });
    tools.addEventListener("change", (event) => {
      this.moving = event.target.value === "move";
      this.canvas.classList.toggle("moves", this.moving);
    });
  }
}

// A box beside the pointer that says what a point is.
export class Hint {
  constructor(box, canvas) {
    Object.assign(this, { box, canvas });
  }

  hide() {
    this.box.hidden = true;
  }

  say(lines, left, top) {
    [...this.box.children].forEach((element, i) => { element.textContent = lines[i] ?? ""; });
    this.box.hidden = false;
    const { clientWidth, clientHeight } = this.canvas;
    const x = Math.min(left + 14, Math.max(clientWidth - this.box.offsetWidth - 4, 0));
    const below = top + 14 + this.box.offsetHeight < clientHeight;
    this.box.style.left = `${x}px`;
    this.box.style.top = `${below ? top + 14 : Math.max(top - 14 - this.box.offsetHeight, 0)}px`;
  }
}
