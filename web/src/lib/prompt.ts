// The tags <lora:name:multiplier> in a prompt. The text is the truth: everything here takes a text and gives a text.

export interface LoraTag {
  start: number // in the text, of '<'
  end: number // behind '>'
  name: string
  multiplier: number | null // null: no plain number (a schedule, say)
  written: string // the multiplier as it stands in the text; "" when left out
  from: number // where the multiplier stands
  to: number
  insert: string // what goes before a number where none is written: ":" or ""
  part: string // "unet" where the tag binds the slider to unet= alone
}

const kTag = /<(lora|lyco):([^>]+)>/g
const kNumber = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i

export function readNumber(text: string): number | null {
  return kNumber.test(text) ? Number(text) : null
}

export function findLoras(text: string): LoraTag[] {
  const found: LoraTag[] = []
  for (const match of text.matchAll(kTag)) found.push(readTag(match[2], match.index, match.index + match[0].length, match.index + 2 + match[1].length))
  return found
}

// body: all between "<lora:" and ">"; at: where it begins in the text.
function readTag(body: string, start: number, end: number, at: number): LoraTag {
  const items: { text: string; from: number }[] = []
  let from = at
  for (const text of body.split(':')) {
    items.push({ text, from })
    from += text.length + 1
  }
  const isNamed = (text: string) => text.split('=').length === 2
  const positional = items.filter(({ text }) => !isNamed(text))
  const name = positional[0] ?? items[0]
  const named = (key: string) => items.find(({ text }) => isNamed(text) && text.startsWith(`${key}=`))
  // What is named wins over places, so that beside te= the first number says nothing; then it is the U-Net's that the slider is of.
  const te = named('te')
  const place = te ? positional[2] : positional[1]
  const unet = te || !place ? named('unet') : undefined
  const bound = unet ?? place ?? te
  const tag = { start, end, name: name.text.trim() }
  if (bound) {
    const skip = isNamed(bound.text) ? bound.text.indexOf('=') + 1 : 0
    const written = bound.text.slice(skip)
    const part = bound === unet || (te && bound === place) ? 'unet' : ''
    return { ...tag, written, multiplier: readNumber(written), from: bound.from + skip, to: bound.from + bound.text.length, insert: '', part }
  }
  const behind = name.from + name.text.length
  return { ...tag, written: '', multiplier: 1, from: behind, to: behind, insert: ':', part: '' }
}

export function showMultiplier(value: number): string {
  return String(Math.round(value * 1000) / 1000)
}

// The text with the multiplier of its index-th tag changed, and nothing else.
export function setMultiplier(text: string, index: number, value: number): string {
  const tag = findLoras(text)[index]
  return tag ? text.slice(0, tag.from) + tag.insert + showMultiplier(value) + text.slice(tag.to) : text
}

export function removeTag(text: string, index: number): string {
  const tag = findLoras(text)[index]
  return tag ? close(text.slice(0, tag.start), text.slice(tag.end)) : text
}

// Joins what is left after something was taken out, so that no separator stands twice.
function close(before: string, after: string): string {
  const left = before.replace(/[ \t]+$/, '')
  let right = after.replace(/^[ \t]+/, '')
  if (left === '' || /[,\n]$/.test(left)) right = right.replace(/^,[ \t]*/, '')
  if (left === '' || right === '' || /^[,.;\n]/.test(right) || /\n$/.test(left)) return right === '' ? left.replace(/,$/, '') : left + right
  return left + ' ' + right
}

// Which names a card answers to in a tag.
export interface Named {
  name: string
  alias: string
  autov2?: string | null
}

// How the card is called in a tag: names with signs that end or part a tag are called by their hash.
export function tagName(card: Named): string {
  return /[:<>]/.test(card.name) && card.autov2 ? card.autov2 : card.name
}

export function isCalled(card: Named, name: string): boolean {
  const asked = name.toLowerCase()
  const stem = card.name.split('/').pop() ?? card.name
  return [card.name, stem, card.alias, card.autov2].some((known) => known?.toLowerCase() === asked)
}

export function tagOf(text: string, card: Named): number {
  return findLoras(text).findIndex((tag) => isCalled(card, tag.name))
}

const escaped = (words: string) => words.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

// Where `phrase` stands in the text as an item between commas, line ends or tags.
function findPhrase(text: string, phrase: string): { start: number; end: number } | null {
  const match = new RegExp(`(^|[,\\n>])([ \\t]*)${escaped(phrase)}(?=[ \\t]*($|[,\\n<]))`, 'i').exec(text)
  if (!match) return null
  const start = match.index + match[1].length + match[2].length
  return { start, end: start + phrase.length }
}

export function hasPhrase(text: string, phrase: string): boolean {
  return findPhrase(text, phrase) !== null
}

// Whether the words stand anywhere outside of the tags, within a sentence too.
export function mentions(text: string, words: string): boolean {
  const isLetter = (character: string | undefined) => character !== undefined && /[\p{L}\p{N}_]/u.test(character)
  const low = text.replace(kTag, ' ').toLowerCase()
  const wanted = words.trim().toLowerCase()
  for (let at = low.indexOf(wanted); at >= 0 && wanted; at = low.indexOf(wanted, at + 1))
    if (!isLetter(low[at - 1]) && !isLetter(low[at + wanted.length])) return true
  return false
}

export function addPhrase(text: string, phrase: string): string {
  const clean = phrase.trim()
  if (!clean || hasPhrase(text, clean)) return text
  const before = text.replace(/[ \t,]+$/, '')
  if (before === '' || before.endsWith('\n')) return before + clean
  // Behind tags alone a comma would part nothing.
  return before + (before.replace(kTag, '').trim() ? ', ' : ' ') + clean
}

export function removePhrase(text: string, phrase: string): string {
  const found = findPhrase(text, phrase.trim())
  if (!found) return text
  const before = text.slice(0, found.start)
  const after = text.slice(found.end)
  // A separator goes with it: the one before, or the one behind where it was the first.
  return /,[ \t]*$/.test(before) && !/^[ \t]*,/.test(after) ? close(before.replace(/,[ \t]*$/, ''), after) : close(before, after)
}

// What a click on a card put in, so that a second click takes exactly that out.
export interface Inserted {
  words: string[]
  negative: string
}

export interface Prompts {
  prompt: string
  negative: string
}

export interface LoraCard extends Named {
  trigger_words: string[]
  preferred_multiplier: number | null
  negative_text: string
}

export function insertLora(prompts: Prompts, card: LoraCard): Prompts & { inserted: Inserted } {
  const words = card.trigger_words.map((word) => word.trim()).filter((word) => word && !mentions(prompts.prompt, word))
  const before = prompts.prompt.replace(/[ \t]+$/, '')
  let prompt = `${before}${before && !before.endsWith('\n') ? ' ' : ''}<lora:${tagName(card)}:${showMultiplier(card.preferred_multiplier ?? 1)}>`
  for (const word of words) prompt = addPhrase(prompt, word)
  const negative = card.negative_text.trim()
  const added = negative && !hasPhrase(prompts.negative, negative) ? negative : ''
  return { prompt, negative: added ? addPhrase(prompts.negative, added) : prompts.negative, inserted: { words, negative: added } }
}

// Takes the card's tags out, and what came with them (`inserted`; when unknown, its trigger words) unless another LoRA wants it too.
export function removeLora(prompts: Prompts, card: LoraCard, inserted: Inserted | undefined, wanted: string[] = []): Prompts {
  const { words, negative } = inserted ?? { words: card.trigger_words, negative: card.negative_text.trim() }
  let prompt = prompts.prompt
  for (let index = tagOf(prompt, card); index >= 0; index = tagOf(prompt, card)) prompt = removeTag(prompt, index)
  for (const word of words) if (!wanted.includes(word)) prompt = removePhrase(prompt, word)
  return { prompt, negative: negative && !wanted.includes(negative) ? removePhrase(prompts.negative, negative) : prompts.negative }
}
