import assert from 'node:assert/strict'
import test from 'node:test'
import { addPhrase, findLoras, hasPhrase, insertLora, isCalled, mentions, removeLora, removePhrase, removeTag, setMultiplier, tagName } from '../../../web/src/lib/prompt'

const monet = { name: 'styles/monet', alias: 'monet-v2', autov2: 'abcdef0123', trigger_words: ['monet style'], preferred_multiplier: 0.8, negative_text: 'photo' }

test('a tag is found with its name and its multiplier', () => {
  const [tag] = findLoras('a house <lora:styles/monet:0.75>, dusk')
  assert.equal(tag.name, 'styles/monet')
  assert.equal(tag.multiplier, 0.75)
  assert.deepEqual(findLoras('a <hypernet:x:1> b <lora:> c'), [])
})

test('a tag without a number counts as 1 and gets one when it is changed', () => {
  assert.equal(findLoras('<lora:fox>')[0].multiplier, 1)
  assert.equal(setMultiplier('a <lora:fox> b', 0, 0.5), 'a <lora:fox:0.5> b')
  assert.equal(setMultiplier('<lora:fox:start=3>', 0, 0.5), '<lora:fox:0.5:start=3>')
})

test('a changed multiplier leaves everything else in the tag and around it alone', () => {
  assert.equal(setMultiplier('x <lora:a:1:0.5:lbw=1,0,1:start=3> y <lyco:b:1>', 0, -0.25), 'x <lora:a:-0.25:0.5:lbw=1,0,1:start=3> y <lyco:b:1>')
  assert.equal(setMultiplier('x <lora:a:1> y <lyco:b:1>', 1, 0), 'x <lora:a:1> y <lyco:b:0>')
  assert.equal(setMultiplier('<lora:a:lbw=IN:2>', 0, 1), '<lora:a:lbw=IN:1>')
})

test('where only unet= is given, the number of unet= is the one that changes', () => {
  const [tag] = findLoras('<lora:a:te=0:unet=0.7>')
  assert.equal(tag.multiplier, 0.7)
  assert.equal(tag.part, 'unet')
  assert.equal(setMultiplier('<lora:a:te=0:unet=0.7>', 0, 1), '<lora:a:te=0:unet=1>')
})

test('beside te= the number that still acts is the one that changes', () => {
  assert.equal(findLoras('<lora:a:1:te=0.3>')[0].multiplier, 0.3)
  assert.equal(setMultiplier('<lora:a:1:te=0.3>', 0, 0.5), '<lora:a:1:te=0.5>')
  assert.equal(setMultiplier('<lora:a:te=0.3>', 0, 0.5), '<lora:a:te=0.5>')
  assert.equal(setMultiplier('<lora:a:1:0.7:te=0>', 0, 0.5), '<lora:a:1:0.5:te=0>')
  assert.equal(findLoras('<lora:a:1:0.7:te=0>')[0].part, 'unet')
  assert.equal(setMultiplier('<lora:a:1:te=0:unet=0.7>', 0, 0.5), '<lora:a:1:te=0:unet=0.5>')
})

test('a multiplier that is a schedule is no number', () => {
  assert.equal(findLoras('<lora:a:0@0,1@0.5>')[0].multiplier, null)
})

test('floating point leaves no trail of digits', () => {
  assert.equal(setMultiplier('<lora:a:1>', 0, 0.1 + 0.2), '<lora:a:0.3>')
})

test('a click puts the tag, the preferred multiplier, the trigger words and the negative text in', () => {
  const { prompt, negative, inserted } = insertLora({ prompt: 'a house', negative: 'blurry' }, monet)
  assert.equal(prompt, 'a house <lora:styles/monet:0.8>, monet style')
  assert.equal(negative, 'blurry, photo')
  assert.deepEqual(inserted, { words: ['monet style'], negative: 'photo' })
})

test('a second click takes all of it out again', () => {
  for (const before of [{ prompt: 'a house', negative: 'blurry' }, { prompt: '', negative: '' }, { prompt: 'a house,\na tree', negative: 'x, y' }]) {
    const { inserted, ...after } = insertLora(before, monet)
    assert.deepEqual(removeLora(after, monet, inserted), before)
  }
})

test('taking out finds what was moved and edited meanwhile', () => {
  const { inserted, ...after } = insertLora({ prompt: 'a house', negative: '' }, monet)
  const edited = { ...after, prompt: after.prompt.replace('0.8', '0.3') + ', at dusk' }
  assert.deepEqual(removeLora(edited, monet, inserted), { prompt: 'a house, at dusk', negative: '' })
})

test('words that stood there before are neither doubled nor taken out', () => {
  const { inserted, ...after } = insertLora({ prompt: 'monet style, a house', negative: 'photo' }, monet)
  assert.equal(after.prompt, 'monet style, a house <lora:styles/monet:0.8>')
  assert.deepEqual(removeLora(after, monet, inserted), { prompt: 'monet style, a house', negative: 'photo' })
})

test('words that another LoRA wants too stay', () => {
  const { inserted, ...after } = insertLora({ prompt: '', negative: '' }, monet)
  assert.equal(removeLora(after, monet, inserted, ['monet style']).prompt, 'monet style')
})

test('a LoRA without trigger words leaves nothing but its tag, at 1', () => {
  const plain = { ...monet, trigger_words: [], preferred_multiplier: null, negative_text: '' }
  assert.equal(insertLora({ prompt: 'a', negative: '' }, plain).prompt, 'a <lora:styles/monet:1>')
})

test('a card answers to its path, its stem, its alias and its hash in any case', () => {
  for (const name of ['styles/monet', 'Monet', 'monet-v2', 'ABCDEF0123']) assert.ok(isCalled(monet, name), name)
  assert.ok(!isCalled(monet, 'monet2'))
})

test('a name with signs that end a tag is called by its hash', () => {
  assert.equal(tagName({ ...monet, name: 'a:b' }), 'abcdef0123')
  assert.equal(tagName(monet), 'styles/monet')
})

test('phrases are found between commas only, and leave no commas behind', () => {
  assert.ok(hasPhrase('a, red fox , b', 'red fox'))
  assert.ok(!hasPhrase('a red fox, b', 'red fox'))
  assert.ok(mentions('a Red fox, b', 'red fox'))
  assert.ok(!mentions('a red foxglove, a tired fox <lora:red fox:1>', 'red fox'))
  assert.equal(removePhrase('a, red fox, b', 'red fox'), 'a, b')
  assert.equal(removePhrase('red fox, b', 'red fox'), 'b')
  assert.equal(removePhrase('a, red fox', 'red fox'), 'a')
  assert.equal(removePhrase('a (b), c', '(b)'), 'a (b), c')
  assert.equal(addPhrase('a, ', 'b'), 'a, b')
  assert.equal(addPhrase('', 'b'), 'b')
  assert.equal(addPhrase('a, b', 'B'), 'a, b')
})

test('a tag taken out of the middle leaves one separator', () => {
  assert.equal(removeTag('a, <lora:x:1>, b', 0), 'a, b')
  assert.equal(removeTag('a <lora:x:1> b', 0), 'a b')
  assert.equal(removeTag('<lora:x:1> b', 0), 'b')
})
