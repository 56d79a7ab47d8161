// The workshop's tools as the page offers them: what goes in, which options, whether a file comes out. Names are those of `lorikeet lora`.
import type { Choice, Field, Values } from '../types'

export interface Tool {
  operation: string
  label: string
  help: string
  inputs: 'one' | 'two' | 'many' | 'none'
  multipliers: boolean
  checkpoint: 'needed' | 'optional' | 'no'
  output: '' | 'loras' | 'checkpoints'
  fields: Field[]
}

const base = { group: '', group_title: '' }
const choice = (name: string, help: string, names: string[]): Field => ({
  ...base, name, type: 'choice', help, default: names[0], choices: names.map((value): Choice => ({ name: value, label: value || 'as it is' })),
})
const whole = (name: string, help: string, min: number, optional = true): Field => ({ ...base, name, type: 'integer', help, default: null, min, optional })
const number = (name: string, help: string, value: number, min: number, max: number): Field => ({ ...base, name, type: 'number', help, default: value, min, max })
const text = (name: string, help: string): Field => ({ ...base, name, type: 'string', help, default: '' })
const yes = (name: string, help: string): Field => ({ ...base, name, type: 'boolean', help, default: false })

const spelling = choice('to', 'The spelling of the keys.', ['', 'kohya', 'kohya-ldm', 'diffusers', 'peft', 'ldm', 'attention-processors', 'numbered'])
const dtype = (first: string) => choice('dtype', 'Type of the numbers.', [first, ...['keep', 'f16', 'bf16', 'f32'].filter((name) => name !== first)])
const rank = whole('rank', 'The rank; with a rule the most.', 1)
const convRank = whole('conv_rank', 'The same for convolutions larger than 1×1; empty: as rank.', 1)
const rule = text('rule', 'Chooses each layer’s rank by its singular values: sv_ratio=P, sv_cumulative=P, sv_fro=P, threshold=P or quantile=P.')

export const tools: Tool[] = [
  {
    operation: 'info', label: 'Look into', help: 'What it changes and how much, block by block, with a map.',
    inputs: 'one', multipliers: false, checkpoint: 'optional', output: '', fields: [],
  },
  {
    operation: 'check', label: 'Check', help: 'What of it fits a checkpoint, how strong it is there, and the largest sensible multiplier.',
    inputs: 'one', multipliers: false, checkpoint: 'needed', output: '', fields: [],
  },
  {
    operation: 'compare', label: 'Compare', help: 'How alike two LoRAs are, block by block.',
    inputs: 'two', multipliers: false, checkpoint: 'optional', output: '', fields: [],
  },
  {
    operation: 'mix', label: 'Mix', help: 'Several LoRAs become one.',
    inputs: 'many', multipliers: true, checkpoint: 'optional', output: 'loras',
    fields: [
      choice('method', 'sum: exact; svd: the sum cut to a rank; ties and dare thin out first; orthogonal: none disturbs the others.', ['sum', 'svd', 'ties', 'dare', 'orthogonal']),
      rank, number('density', 'ties, dare: the share of the entries that is kept.', 0.5, 0, 1), whole('seed', 'dare: of what is kept.', 0), dtype('f16'), spelling,
    ],
  },
  {
    operation: 'resize', label: 'Resize', help: 'A smaller rank with the least error: a smaller, quicker file.',
    inputs: 'one', multipliers: false, checkpoint: 'optional', output: 'loras', fields: [rank, convRank, rule, yes('like_kohya', 'Choose the ranks that kohya’s script chooses.'), dtype('keep')],
  },
  {
    operation: 'convert', label: 'Convert', help: 'Another spelling, type or kind, for other programs.',
    inputs: 'one', multipliers: false, checkpoint: 'optional', output: 'loras',
    fields: [spelling, choice('kind', 'lora: all kinds become plain LoRA; full: whole differences.', ['', 'lora', 'full']), rank, dtype('keep'), yes('partial', 'Leave out layers that the spelling has no name for.')],
  },
  {
    operation: 'bake', label: 'Bake', help: 'LoRAs become part of a checkpoint.',
    inputs: 'many', multipliers: true, checkpoint: 'needed', output: 'checkpoints', fields: [dtype('keep')],
  },
  {
    operation: 'extract', label: 'Extract', help: 'A LoRA of the difference of two checkpoints.',
    inputs: 'none', multipliers: false, checkpoint: 'no', output: 'loras',
    fields: [rank, convRank, rule, dtype('f16'), yes('no_te', 'Leave out the text encoder.'), yes('no_conv', 'Leave out convolutions larger than 1×1.'), yes('exact', 'All singular values (slow).')],
  },
]

export interface ToolInput {
  name: string
  multiplier: number
}

// The job's request: options that were not touched stay with the server's defaults.
export function workshopRequest(tool: Tool, inputs: ToolInput[], options: Values, output: string): Values {
  const request: Values = { operation: tool.operation }
  const named = inputs.filter(({ name }) => name)
  if (tool.inputs !== 'none') request.inputs = tool.multipliers ? named : named.map(({ name }) => ({ name }))
  for (const field of tool.fields) {
    const value = options[field.name]
    if (value === undefined || value === null || value === '' || value === field.default) continue
    request[field.name] = value
  }
  for (const name of ['model', 'base', 'tuned']) if (options[name]) request[name] = options[name]
  if (tool.output) request.output = output.trim()
  return request
}
