"""The comparison side by side: one panel for each picture, all showing the same place at the same zoom."""

from urllib.parse import quote

import gradio as gr

from .gradio_fixes import CACHE_ROUTE

TEMPLATE = """
<div class="panels">
  {{#each value.panels}}
  <figure>
    <div class="lens" tabindex="0" role="img" aria-label="{{title}}"><img src="{{url}}" alt="" draggable="false"></div>
    <figcaption>{{title}}</figcaption>
  </figure>
  {{/each}}
</div>
<label>{{value.zoom}} <input type="range" min="1" max="8" step="0.5" value="3"></label>
"""
STYLE = """
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(200px, 100%), 1fr)); gap: 12px; }
figure { margin: 0; }
figcaption { padding: 6px 2px; font-size: var(--text-sm); color: var(--block-info-text-color); }
.lens { overflow: hidden; border-radius: var(--radius-lg); border: 1px solid var(--border-color-primary);
  cursor: crosshair; }
.lens:focus-visible { outline: 2px solid var(--primary-500); outline-offset: 2px; }
.lens img { display: block; width: 100%; margin: 0; transform: scale(var(--zoom, 3));
  transform-origin: var(--x, 50%) var(--y, 50%); }
label { display: flex; align-items: center; gap: 12px; font-size: var(--text-sm); color: var(--body-text-color); }
input { flex: 1; max-width: 320px; accent-color: var(--primary-600); }
"""
# The pointer, or the arrow keys on a panel, choose the place; the range below chooses the zoom.
SCRIPT = """
const place = { x: 50, y: 50 };
const show = () => {
  element.style.setProperty("--x", place.x + "%");
  element.style.setProperty("--y", place.y + "%");
};
const move = (x, y) => {
  place.x = Math.min(100, Math.max(0, x));
  place.y = Math.min(100, Math.max(0, y));
  show();
};
element.addEventListener("pointermove", event => {
  const lens = event.target.closest(".lens");
  if (!lens) return;
  const box = lens.getBoundingClientRect();
  move(100 * (event.clientX - box.left) / box.width, 100 * (event.clientY - box.top) / box.height);
});
element.addEventListener("keydown", event => {
  const step = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, -5], ArrowDown: [0, 5] }[event.key];
  if (!step || !event.target.closest(".lens")) return;
  event.preventDefault();
  move(place.x + step[0], place.y + step[1]);
});
element.addEventListener("input", event => element.style.setProperty("--zoom", event.target.value));
"""


def side_by_side(**options) -> gr.HTML:
    """The component; its value is what `panels` makes."""
    empty = {"panels": [], "zoom": ""}
    return gr.HTML(empty, html_template=TEMPLATE, css_template=STYLE, js_on_load=SCRIPT, padding=False, **options)


def panels(titles: tuple[str, ...], paths: tuple[str, ...], zoom: str) -> dict:
    """The value of the component.

    Args:
        titles: what stands below each picture.
        paths: of PNGs in Gradio's cache.
        zoom: the label of the range.
    """
    urls = [CACHE_ROUTE.lstrip("/") + quote(path) for path in paths]
    return {"panels": [{"title": t, "url": u} for t, u in zip(titles, urls, strict=True)], "zoom": zoom}
