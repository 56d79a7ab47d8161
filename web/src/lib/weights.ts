// Ctrl-up and Ctrl-down in a prompt, as in A1111: the weight of the selected text (text:1.1), or of the tag under the cursor.
import { findLoras, readNumber, setMultiplier } from './prompt'

export interface Edit {
  text: string
  start: number // the selection afterwards
  end: number
}

const kTextStep = 0.1
const kTagStep = 0.05

function rounded(value: number): number {
  return Math.round(value * 100) / 100
}

export function changeWeight(text: string, start: number, end: number, up: boolean): Edit {
  return changeTag(text, start, end, up) ?? changeEmphasis(text, start, end, up)
}

function changeTag(text: string, start: number, end: number, up: boolean): Edit | null {
  const index = findLoras(text).findIndex((tag) => tag.start <= start && end <= tag.end)
  if (index < 0) return null
  const tag = findLoras(text)[index]
  if (tag.multiplier === null) return { text, start, end }
  const changed = setMultiplier(text, index, rounded(tag.multiplier + (up ? kTagStep : -kTagStep)))
  const grown = changed.length - text.length
  return { text: changed, start: Math.min(start, tag.end + grown), end: Math.min(end, tag.end + grown) }
}

interface Span {
  open: number // '('
  colon: number // -1: no weight is written
  close: number // ')'
}

// The innermost brackets around the selection: "(red fox:1.2)", or "(red fox)" which is 1.1.
function enclosing(text: string, start: number, end: number): Span | null {
  let depth = 0
  let open = -1
  for (let i = start - 1; i >= 0; --i) {
    if (text[i - 1] === '\\') continue
    if (text[i] === ')') ++depth
    if (text[i] === '(' && depth-- === 0) {
      open = i
      break
    }
  }
  if (open < 0) return null
  depth = 0
  for (let i = end; i < text.length; ++i) {
    if (text[i - 1] === '\\') continue
    if (text[i] === '(') ++depth
    if (text[i] === ')' && depth-- === 0) {
      const colon = text.lastIndexOf(':', i)
      return { open, colon: colon >= end && readNumber(text.slice(colon + 1, i)) !== null ? colon : -1, close: i }
    }
  }
  return null
}

// The word at the cursor; "" selections grow to it.
function wordAt(text: string, at: number): [number, number] {
  const isPart = (sign: string | undefined) => sign !== undefined && !/[\s,.:;()[\]<>|]/.test(sign)
  let [start, end] = [at, at]
  while (isPart(text[start - 1])) --start
  while (isPart(text[end])) ++end
  return [start, end]
}

function trimmed(text: string, start: number, end: number): [number, number] {
  while (start < end && /\s/.test(text[start])) ++start
  while (end > start && /\s/.test(text[end - 1])) --end
  return [start, end]
}

function changeEmphasis(text: string, start: number, end: number, up: boolean): Edit {
  const step = up ? kTextStep : -kTextStep
  // The selection may hold the brackets themselves.
  const picked = /^\(.*\)$/s.test(text.slice(start, end)) ? enclosing(text, start + 1, start + 1) : null
  const around = picked && picked.close === end - 1 ? picked : enclosing(text, start, end)
  const inner = around ? text.slice(around.open + 1, around.colon < 0 ? around.close : around.colon) : ''
  const [from, to] = start === end ? wordAt(text, start) : trimmed(text, start, end)
  if (around && (around === picked || covers(inner, text.slice(from, to), start === end)))
    return reweigh(text, around, inner, step)
  if (from === to) return { text, start, end }
  const weight = rounded(1 + step)
  const part = text.slice(from, to)
  return { text: `${text.slice(0, from)}(${part}:${weight})${text.slice(to)}`, start: from + 1, end: from + 1 + part.length }
}

// With a cursor only, brackets around it are meant; a selection must be all that is in them.
function covers(inner: string, selected: string, cursor: boolean): boolean {
  return cursor ? true : inner.trim() === selected.trim()
}

function reweigh(text: string, span: Span, inner: string, step: number): Edit {
  const old = span.colon < 0 ? 1.1 : Number(text.slice(span.colon + 1, span.close))
  const weight = rounded(old + step)
  const [before, after] = [text.slice(0, span.open), text.slice(span.close + 1)]
  // Weight 1 needs no brackets.
  if (weight === 1) return { text: before + inner + after, start: span.open, end: span.open + inner.length }
  return { text: `${before}(${inner}:${weight})${after}`, start: span.open + 1, end: span.open + 1 + inner.length }
}
