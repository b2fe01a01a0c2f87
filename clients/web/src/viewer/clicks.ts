/** Clicks and taps on the canvas, told apart from drags; Enter clicks at the middle, for whoever has no pointer. */

const DRAG_PX = 5;
/** Fingers roll. */
const TOUCH_DRAG_PX = 14;

export function onClick(canvas: HTMLCanvasElement, click: (clientX: number, clientY: number) => void): void {
  let pressed: { id: number; x: number; y: number } | null = null;
  canvas.addEventListener("pointerdown", ({ pointerId, clientX, clientY, isPrimary, button }) => {
    pressed = isPrimary && button === 0 ? { id: pointerId, x: clientX, y: clientY } : null; // a second finger turns the view
  });
  canvas.addEventListener("pointerup", ({ pointerId, clientX, clientY, pointerType }) => {
    if (pressed?.id !== pointerId) return;
    const moved = Math.hypot(clientX - pressed.x, clientY - pressed.y);
    pressed = null;
    if (moved < (pointerType === "touch" ? TOUCH_DRAG_PX : DRAG_PX)) click(clientX, clientY);
  });
  canvas.addEventListener("pointercancel", () => (pressed = null));
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.repeat) return;
    const { left, top, width, height } = canvas.getBoundingClientRect();
    click(left + width / 2, top + height / 2);
  });
}
