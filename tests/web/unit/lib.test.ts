import assert from 'node:assert/strict'
import test from 'node:test'
import { curve, niceTicks, smoothed } from '../../../web/src/lib/curve'
import { bytes, duration, short } from '../../../web/src/lib/format'
import { readInfotext } from '../../../web/src/lib/infotext'
import { fitted, isEmptyMask } from '../../../web/src/lib/mask'
import { axisText, countValues, listValues, toggled } from '../../../web/src/lib/plot'
import { pagesOf, visible } from '../../../web/src/lib/virtual'

test('infotext falls into prompt, negative prompt and settings', () => {
  const info = readInfotext('a house\nby the sea\nNegative prompt: blurry, text\nSteps: 20, Sampler: DPM++ 2M, Size: 512x512, Lora hashes: "a: 12, b: 34"')
  assert.equal(info.prompt, 'a house\nby the sea')
  assert.equal(info.negative, 'blurry, text')
  assert.deepEqual(info.settings[0], ['Steps', '20'])
  assert.deepEqual(info.settings[3], ['Lora hashes', 'a: 12, b: 34'])
})

test('a last line with fewer than three settings is prompt', () => {
  assert.deepEqual(readInfotext('a house: red, blue'), { prompt: 'a house: red, blue', negative: '', settings: [] })
})

test('axes are written in the language of the plot command', () => {
  assert.equal(axisText({ kind: 'lora', key: 'styles/monet', values: ' 0-1 [5] ' }), 'lora:styles/monet=0-1 [5]')
  assert.equal(axisText({ kind: 'word', key: '{colour}', values: 'red, blue' }), '{colour}=red, blue')
  assert.equal(axisText({ kind: 'setting', key: 'steps', values: '1,2' }), 'steps=1,2')
  assert.equal(axisText({ kind: 'none', key: '', values: '' }), '')
})

test('values with commas are quoted and read back', () => {
  assert.deepEqual(listValues('a, "b, ""c""", d'), ['a', 'b, "c"', 'd'])
  assert.equal(toggled('a', 'b, c'), 'a, "b, c"')
  assert.equal(toggled('a, "b, c"', 'b, c'), 'a')
})

test('ranges count as what they stand for', () => {
  const many = (values: string) => countValues({ kind: 'setting', key: 'steps', values })
  assert.equal(many('1-5'), 5)
  assert.equal(many('10-30 (+10)'), 3)
  assert.equal(many('0-1 [5]'), 5)
  assert.equal(many('1, 2, 8-9'), 4)
  assert.equal(countValues({ kind: 'none', key: '', values: '' }), 1)
})

test('of 10,000 cards only those in view are drawn, with two rows to spare', () => {
  const layout = { total: 10000, width: 690, view: 400, scroll: 0, cardWidth: 138, rowHeight: 200 }
  assert.deepEqual(visible(layout), { columns: 5, first: 0, end: 20, offset: 0, height: 400000 })
  const deep = visible({ ...layout, scroll: 200000 })
  assert.equal(deep.first, 998 * 5)
  assert.equal(deep.end, 1004 * 5)
  assert.equal(visible({ ...layout, scroll: 1e9 }).end, 10000)
  assert.deepEqual(visible({ ...layout, total: 0 }), { columns: 5, first: 0, end: 0, offset: 0, height: 0 })
})

test('the pages of a range are those that it touches', () => {
  assert.deepEqual(pagesOf(0, 20, 100), [0])
  assert.deepEqual(pagesOf(95, 205, 100), [0, 1, 2])
  assert.deepEqual(pagesOf(100, 100, 100), [])
})

test('a loss curve keeps within its frame and takes in gaps', () => {
  const log = [{ step: 1, loss: 1 }, { step: 2, loss: 0.5, validation: 2 }, { step: 3, loss: Number.NaN }, { step: 11, loss: 0.25 }]
  const lines = curve(log, { width: 300, height: 100, left: 40, bottom: 20 })
  const points = lines.loss.split(' ').map((point) => point.split(',').map(Number))
  assert.equal(points.length, 3)
  for (const [x, y] of points) assert.ok(x >= 40 && x <= 294 && y >= 6 && y <= 80)
  assert.equal(lines.validation.split(' ').length, 1)
  assert.deepEqual(curve([], { width: 1, height: 1, left: 0, bottom: 0 }).loss, '')
})

test('smoothing starts at the first value', () => {
  assert.equal(smoothed([4, 4, 4]).at(-1)?.toFixed(9), '4.000000000')
})

test('ticks are round numbers inside of the range', () => {
  assert.deepEqual(niceTicks(0, 100, 5), [0, 20, 40, 60, 80, 100])
  assert.deepEqual(niceTicks(3, 3, 5), [3])
})

test('numbers read as people write them', () => {
  assert.equal(bytes(999), '999 B')
  assert.equal(bytes(144_000_000), '144 MB')
  assert.equal(bytes(2_130_000_000), '2.1 GB')
  assert.equal(duration(59.4), '59 s')
  assert.equal(duration(61), '1 min 01 s')
  assert.equal(duration(7260), '2 h 01 min')
  assert.equal(short(0.00012), '1.2e-4')
  assert.equal(short(0.30001), '0.3')
})

test('a mask is empty until something is painted, and again when it is cleared', () => {
  const stroke = { kind: 'stroke' as const, size: 10, erase: false, points: [[1, 1]] as [number, number][] }
  assert.ok(isEmptyMask([]))
  assert.ok(isEmptyMask([{ ...stroke, erase: true }]))
  assert.ok(!isEmptyMask([stroke]))
  assert.ok(isEmptyMask([stroke, { kind: 'clear' }]))
  assert.ok(!isEmptyMask([stroke, { kind: 'clear' }, { kind: 'invert' }]))
})

test('a mask for a picture of another size is stretched with it', () => {
  const stroke = { kind: 'stroke' as const, size: 10, erase: false, points: [[10, 20]] as [number, number][] }
  const mask = { width: 100, height: 100, steps: [stroke, { kind: 'invert' as const }] }
  assert.deepEqual(fitted(mask, 400, 100), { width: 400, height: 100, steps: [{ ...stroke, size: 20, points: [[40, 20]] }, { kind: 'invert' }] })
  assert.equal(fitted(mask, 100, 100), mask)
})
