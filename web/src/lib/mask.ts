// The mask that is painted over a picture: a list of what was done, drawn anew after an undo. On the canvas the mask is opaque colour,
// what is kept is transparent; the server gets white on black.

export type MaskStep =
  | { kind: 'stroke'; size: number; erase: boolean; points: [number, number][] } // px of the picture
  | { kind: 'invert' }
  | { kind: 'clear' }

export interface PaintedMask {
  width: number // px
  height: number
  steps: MaskStep[]
}

// The same mask for a picture of another size, stretched as the server stretches it.
export function fitted(mask: PaintedMask, width: number, height: number): PaintedMask {
  if (mask.width === width && mask.height === height) return mask
  const [across, down] = [width / mask.width, height / mask.height]
  const steps = mask.steps.map((step): MaskStep =>
    step.kind !== 'stroke' ? step : { ...step, size: step.size * Math.sqrt(across * down), points: step.points.map(([x, y]) => [x * across, y * down]) })
  return { width, height, steps }
}

export function drawStep(context: CanvasRenderingContext2D, step: MaskStep, colour: string): void {
  const { width, height } = context.canvas
  context.globalCompositeOperation = 'source-over'
  if (step.kind === 'clear') {
    context.clearRect(0, 0, width, height)
  } else if (step.kind === 'invert') {
    context.globalCompositeOperation = 'source-out'
    context.fillStyle = colour
    context.fillRect(0, 0, width, height)
  } else {
    context.globalCompositeOperation = step.erase ? 'destination-out' : 'source-over'
    context.strokeStyle = colour
    context.lineWidth = step.size
    context.lineCap = 'round'
    context.lineJoin = 'round'
    context.beginPath()
    step.points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)))
    if (step.points.length === 1) context.lineTo(step.points[0][0] + 0.01, step.points[0][1])
    context.stroke()
  }
  context.globalCompositeOperation = 'source-over'
}

export function drawSteps(context: CanvasRenderingContext2D, steps: MaskStep[], colour: string): void {
  context.clearRect(0, 0, context.canvas.width, context.canvas.height)
  for (const step of steps) drawStep(context, step, colour)
}

// Whether the steps leave anything to paint: nothing but clears at the end means none.
export function isEmptyMask(steps: MaskStep[]): boolean {
  for (let i = steps.length - 1; i >= 0; --i) {
    const step = steps[i]
    if (step.kind === 'clear') return true
    if (step.kind === 'invert' || !step.erase) return false
  }
  return true
}

export function maskPicture(steps: MaskStep[], width: number, height: number): string {
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  const context = canvas.getContext('2d') as CanvasRenderingContext2D
  drawSteps(context, steps, '#fff')
  context.globalCompositeOperation = 'destination-over'
  context.fillStyle = '#000'
  context.fillRect(0, 0, width, height)
  return canvas.toDataURL('image/png')
}
