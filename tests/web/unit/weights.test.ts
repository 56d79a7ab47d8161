import assert from 'node:assert/strict'
import test from 'node:test'
import { changeWeight } from '../../../web/src/lib/weights'

// The text with the selection between '|' and '|', or the cursor at one '|'.
function change(marked: string, up: boolean): string {
  const start = marked.indexOf('|')
  const text = marked.replaceAll('|', '')
  const end = marked.lastIndexOf('|') === start ? start : marked.lastIndexOf('|') - 1
  const edit = changeWeight(text, start, end, up)
  const [from, to] = [edit.start, edit.end]
  return edit.text.slice(0, from) + '|' + edit.text.slice(from, to) + (from === to ? '' : '|') + edit.text.slice(to)
}

test('the selected text gets brackets with a weight, and stays selected', () => {
  assert.equal(change('a |red fox| b', true), 'a (|red fox|:1.1) b')
  assert.equal(change('a |red fox| b', false), 'a (|red fox|:0.9) b')
})

test('again changes the weight that is there, by a tenth without rounding trails', () => {
  assert.equal(change('(|fox|:1.1)', true), '(|fox|:1.2)')
  assert.equal(change('(|fox|:1.2)', true), '(|fox|:1.3)')
  assert.equal(change('(|fox|:0.9)', false), '(|fox|:0.8)')
})

test('at weight 1 the brackets go', () => {
  assert.equal(change('a (|fox|:1.1) b', false), 'a |fox| b')
})

test('brackets without a number count as 1.1', () => {
  assert.equal(change('(|fox|)', true), '(|fox|:1.2)')
})

test('a cursor means the word or the brackets that it is in', () => {
  assert.equal(change('a r|ed fox', true), 'a (|red|:1.1) fox')
  assert.equal(change('(red f|ox:1.3)', true), '(|red fox|:1.4)')
  assert.equal(change('a | b', true), 'a | b')
})

test('a selection with its brackets changes them instead of adding more', () => {
  assert.equal(change('a |(fox:1.2)| b', true), 'a (|fox|:1.3) b')
})

test('a part of what is in brackets gets brackets of its own', () => {
  assert.equal(change('(red |fox|:1.2)', true), '(red (|fox|:1.1):1.2)')
})

test('white space at the ends of a selection stays outside', () => {
  assert.equal(change('a| fox |b', true), 'a (|fox|:1.1) b')
})

test('in a tag the multiplier changes by a twentieth, down through zero', () => {
  assert.equal(change('a <lora:x|:1> b', true), 'a <lora:x|:1.05> b')
  assert.equal(change('<lora:x|:0>', false), '<lora:x|:-0.05>')
  assert.equal(change('<lora:x|>', true), '<lora:x|:1.05>')
})

test('escaped brackets are text', () => {
  assert.equal(change('\\(a |fox| b\\)', true), '\\(a (|fox|:1.1) b\\)')
})
