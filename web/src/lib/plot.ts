// The axes of an X/Y/Z plot, in the language of `lorikeet plot`: "KEY=VALUE, VALUE".

export type AxisKind = 'none' | 'lora' | 'setting' | 'search' | 'word' | 'model'

export interface Axis {
  kind: AxisKind
  key: string // the LoRA's name, the setting, the word
  values: string
}

export function axisText(axis: Axis): string {
  const values = axis.values.trim()
  const key = axis.key.trim()
  if (axis.kind === 'none') return ''
  if (axis.kind === 'lora') return `lora:${key}=${values}`
  if (axis.kind === 'word') return `{${key.replace(/[{}]/g, '')}}=${values}`
  if (axis.kind === 'search') return `prompt_sr=${values}`
  if (axis.kind === 'model') return `model=${values}`
  return `${key}=${values}`
}

// A value in a list: one with a comma, a quote or white space at its ends stands in quotes (CSV).
export function quoted(value: string): string {
  return /[",]|^\s|\s$/.test(value) ? `"${value.replace(/"/g, '""')}"` : value
}

export function listValues(values: string): string[] {
  const found: string[] = []
  for (const match of values.matchAll(/\s*("(?:[^"]|"")*"|[^,]*)\s*(?:,|$)/g)) {
    const value = match[1].trim()
    if (value) found.push(value.startsWith('"') ? value.slice(1, -1).replace(/""/g, '"') : value)
  }
  return found
}

export function toggled(values: string, value: string): string {
  const list = listValues(values)
  return (list.includes(value) ? list.filter((other) => other !== value) : [...list, value]).map(quoted).join(', ')
}

const kRange = /^\s*(-?[\d.]+)\s*-\s*(-?[\d.]+)\s*(?:\(\s*([+-]?[\d.]+)\s*\)|\[\s*(\d+)\s*\])?\s*$/

// How many cells a side has; ranges "1-5", "1-5 (+2)", "0-1 [5]" count as what they stand for.
export function countValues(axis: Axis): number {
  if (axis.kind === 'none') return 1
  let sum = 0
  for (const value of listValues(axis.values)) {
    const range = kRange.exec(value)
    if (!range) ++sum
    else if (range[4]) sum += Number(range[4])
    else sum += Math.max(0, Math.floor((Number(range[2]) - Number(range[1])) / Number(range[3] ?? 1) + 1e-6)) + 1
  }
  return sum
}
