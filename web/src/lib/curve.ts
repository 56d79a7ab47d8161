// A training run's log as lines of an SVG.
import type { LossPoint } from '../types'

export interface Curve {
  loss: string // points of a polyline
  smooth: string
  validation: string
  ticksX: { at: number; label: string }[]
  ticksY: { at: number; label: string }[]
}

export interface Frame {
  width: number
  height: number
  left: number
  bottom: number
}

// Steps of 1, 2 or 5 times a power of ten.
export function niceTicks(least: number, most: number, wanted: number): number[] {
  if (!(most > least)) return [least]
  const raw = (most - least) / Math.max(1, wanted)
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? raw
  const ticks: number[] = []
  for (let i = Math.ceil(least / step - 1e-9); i * step <= most + step * 1e-9; ++i) ticks.push(Number((i * step).toPrecision(12)))
  return ticks
}

// A moving average that forgets: 0.9 of the old, freed of its start (as Adam's moments are).
export function smoothed(values: number[], keep = 0.9): number[] {
  let sum = 0
  let weight = 0
  return values.map((value) => {
    sum = keep * sum + (1 - keep) * value
    weight = keep * weight + (1 - keep)
    return sum / weight
  })
}

export function curve(log: LossPoint[], frame: Frame): Curve {
  const known = log.filter((point) => Number.isFinite(point.loss))
  if (!known.length) return { loss: '', smooth: '', validation: '', ticksX: [], ticksY: [] }
  const validation = log.filter((point) => typeof point.validation === 'number')
  const losses = known.map((point) => point.loss)
  const all = [...losses, ...validation.map((point) => point.validation as number)]
  const steps = log.map((point) => point.step)
  const [firstStep, lastStep] = [Math.min(...steps), Math.max(...steps)]
  let [least, most] = [Math.min(...all), Math.max(...all)]
  if (most - least < 1e-9) [least, most] = [least - 0.5 * Math.abs(least) - 1e-6, most + 0.5 * Math.abs(most) + 1e-6]
  const top = 6
  const x = (step: number) => frame.left + ((step - firstStep) / Math.max(1, lastStep - firstStep)) * (frame.width - frame.left - 6)
  const y = (loss: number) => top + (1 - (loss - least) / (most - least)) * (frame.height - frame.bottom - top)
  const line = (points: { step: number; value: number }[]) => points.map((p) => `${x(p.step).toFixed(1)},${y(p.value).toFixed(1)}`).join(' ')
  const soft = smoothed(losses)
  return {
    loss: line(known.map((p) => ({ step: p.step, value: p.loss }))),
    smooth: line(known.map((p, i) => ({ step: p.step, value: soft[i] }))),
    validation: line(validation.map((p) => ({ step: p.step, value: p.validation as number }))),
    ticksX: niceTicks(firstStep, lastStep, 5).map((step) => ({ at: x(step), label: String(step) })),
    ticksY: niceTicks(least, most, 4).map((loss) => ({ at: y(loss), label: String(Number(loss.toPrecision(3))) })),
  }
}
