// Where a LoRA works: x=, y= and mask= in its tag. As in lib/prompt.ts a text goes in and a text comes out.
import { findLoras, type LoraTag } from './prompt'

export type Half = 'left' | 'right' | 'top' | 'bottom'
export type Region =
  | { kind: 'whole' | Half }
  | { kind: 'mask'; name: string }
  | { kind: 'other'; written: string } // what has no name here: x=0.2-0.4, or a mask and x= together

const kHalves: Record<Half, [string, number, number]> = { left: ['x', 0, 0.5], right: ['x', 0.5, 1], top: ['y', 0, 0.5], bottom: ['y', 0.5, 1] }
const halves = Object.keys(kHalves) as Half[]
const kPlaces = ['x', 'y', 'mask']

// What is between "<lora:" and ">", parted: an argument with a name has one "=".
const partsOf = (text: string, tag: LoraTag) => text.slice(tag.start, tag.end - 1).split(':').slice(1)
const isPlace = (part: string) => part.split('=').length === 2 && kPlaces.includes(part.split('=')[0])

function isHalf(half: Half, name: string, value: string): boolean {
  const [side, from, to] = kHalves[half]
  const ends = value.split('-').map((end) => end.trim())
  return name === side && ends.length === 2 && ends.every((end) => end !== '') && Number(ends[0]) === from && Number(ends[1]) === to
}

export function regionOf(text: string, tag: LoraTag): Region {
  const places = partsOf(text, tag).filter(isPlace)
  if (!places.length) return { kind: 'whole' }
  const [name, value] = places[0].split('=')
  const half = halves.find((one) => isHalf(one, name, value))
  if (places.length === 1 && half) return { kind: half }
  if (places.length === 1 && name === 'mask' && value.trim()) return { kind: 'mask', name: value.trim() }
  return { kind: 'other', written: places.join(' ') }
}

type Place = Exclude<Region, { kind: 'other' }>

function writtenOf(region: Place): string[] {
  if (region.kind === 'whole') return []
  if (region.kind === 'mask') return [`mask=${region.name}`]
  const [side, from, to] = kHalves[region.kind]
  return [`${side}=${from}-${to}`]
}

// The text with the place of its index-th tag changed, and nothing else.
export function setRegion(text: string, index: number, region: Place): string {
  const tag = findLoras(text)[index]
  if (!tag) return text
  const parts = partsOf(text, tag)
  const at = parts.findIndex(isPlace)
  const others = parts.filter((part) => !isPlace(part))
  others.splice(at < 0 ? others.length : at, 0, ...writtenOf(region))
  const head = text.slice(tag.start, text.indexOf(':', tag.start))
  return text.slice(0, tag.start) + [head, ...others].join(':') + '>' + text.slice(tag.end)
}

// All masks that the tags of a text name.
export function masksIn(text: string): string[] {
  const named = findLoras(text).flatMap((tag) => partsOf(text, tag).filter((part) => isPlace(part) && part.startsWith('mask=')))
  return [...new Set(named.map((part) => part.slice('mask='.length).trim()).filter(Boolean))]
}

// What the painted mask of a tag is called: as its LoRA, so that it is found again; with a number where another tag has that name.
export function newMaskName(text: string, tag: LoraTag): string {
  const stem = (tag.name.split('/').pop() ?? '').replace(/[^\p{L}\p{N}_-]+/gu, '-').replace(/^-+|-+$/g, '') || 'mask'
  const taken = masksIn(text)
  for (let number = 1; ; ++number) {
    const name = number === 1 ? stem : `${stem}-${number}`
    if (!taken.includes(name)) return name
  }
}
