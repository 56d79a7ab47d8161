import assert from 'node:assert/strict'
import test from 'node:test'
import { findLoras } from '../../../web/src/lib/prompt'
import { masksIn, newMaskName, regionOf, setRegion } from '../../../web/src/lib/region'

const read = (text: string) => regionOf(text, findLoras(text)[0])

test('a tag without a place works in the whole picture', () => {
  assert.deepEqual(read('<lora:fox:1:lbw=1,0,1:start=3>'), { kind: 'whole' })
  assert.deepEqual(read('<lora:fox>'), { kind: 'whole' })
})

test('halves are read by their numbers, however these are written', () => {
  assert.deepEqual(read('<lora:fox:1:x=0-0.5>'), { kind: 'left' })
  assert.deepEqual(read('<lora:fox:1:x= .5 - 1.0 >'), { kind: 'right' })
  assert.deepEqual(read('<lora:fox:y=0-.5:0.7>'), { kind: 'top' })
  assert.deepEqual(read('<lora:fox:1:y=0.5-1>'), { kind: 'bottom' })
})

test('a mask is read by its name', () => {
  assert.deepEqual(read('<lora:fox:1:mask=sky.png>'), { kind: 'mask', name: 'sky.png' })
})

test('what is no half and no mask alone is kept as it is written', () => {
  assert.deepEqual(read('<lora:fox:1:x=0.2-0.4>'), { kind: 'other', written: 'x=0.2-0.4' })
  assert.deepEqual(read('<lora:fox:1:x=0-0.5:y=0-0.5>'), { kind: 'other', written: 'x=0-0.5 y=0-0.5' })
  assert.deepEqual(read('<lora:fox:1:x=0-0.5:mask=sky>'), { kind: 'other', written: 'x=0-0.5 mask=sky' })
  assert.deepEqual(read('<lora:fox:1:x=->'), { kind: 'other', written: 'x=-' })
  assert.deepEqual(read('<lora:fox:1:mask=>'), { kind: 'other', written: 'mask=' })
})

test('a place is written behind everything else in the tag', () => {
  assert.equal(setRegion('a <lora:fox> b', 0, { kind: 'left' }), 'a <lora:fox:x=0-0.5> b')
  assert.equal(setRegion('<lora:fox:0.7:0.5:lbw=MIDD>, c', 0, { kind: 'bottom' }), '<lora:fox:0.7:0.5:lbw=MIDD:y=0.5-1>, c')
})

test('another place stands where the first one stood, and alone', () => {
  assert.equal(setRegion('<lora:fox:1:x=0.1-0.2:start=3:mask=sky>', 0, { kind: 'right' }), '<lora:fox:1:x=0.5-1:start=3>')
  assert.equal(setRegion('<lora:fox:1:y=0-0.5:start=3>', 0, { kind: 'mask', name: 'fox' }), '<lora:fox:1:mask=fox:start=3>')
})

test('the whole picture takes the place out and leaves the rest as it was', () => {
  assert.equal(setRegion('a <lora:fox: 1 :x=0-0.5:TE=1:te=0.2> b', 0, { kind: 'whole' }), 'a <lora:fox: 1 :TE=1:te=0.2> b')
  assert.equal(setRegion('<lora:fox:1>', 0, { kind: 'whole' }), '<lora:fox:1>')
})

test('only the tag that is meant changes', () => {
  const text = '<lora:fox:1> and <lyco:fox:1>'
  assert.equal(setRegion(text, 1, { kind: 'top' }), '<lora:fox:1> and <lyco:fox:1:y=0-0.5>')
  assert.equal(setRegion(text, 2, { kind: 'top' }), text)
})

test('the masks of a text are each named once', () => {
  assert.deepEqual(masksIn('<lora:a:1:mask=sky> <lora:b:mask= sea :1> <lora:c:1:mask=sky> <lora:d:1:x=0-0.5> mask=no'), ['sky', 'sea'])
})

test('a painted mask is called as its LoRA, with a number where that name is taken', () => {
  const name = (text: string, index = 0) => newMaskName(text, findLoras(text)[index])
  assert.equal(name('<lora:styles/old fox v1.5:1>'), 'old-fox-v1-5')
  assert.equal(name('<lora:fox:1:mask=fox> <lora:fox:0.5>', 1), 'fox-2')
  assert.equal(name('<lora:狐:1>'), '狐')
  assert.equal(name('<lora:...:1>'), 'mask')
})
