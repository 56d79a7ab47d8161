// Starting points for training, as settings of the schema's "train" part.
import type { Values } from '../types'

export interface Preset {
  name: string
  label: string
  help: string
  values: Values
}

export const presets: Preset[] = [
  {
    name: 'style',
    label: 'Style',
    help: 'A way of painting: all attention and feed-forward layers, captions that describe what is in each picture.',
    values: { method: 'lora', kind: 'lora', rank: 16, alpha: 16, learning_rate: 1e-4, epochs: 10, steps: 0, targets: 'attention+ff', caption_dropout: 0.1, min_snr_gamma: 5 },
  },
  {
    name: 'subject',
    label: 'Subject',
    help: 'One thing, animal or person from few pictures: smaller, mirrored pictures off, each picture seen often.',
    values: { method: 'lora', kind: 'lora', rank: 8, alpha: 8, learning_rate: 1e-4, epochs: 10, repeats: 10, steps: 0, targets: 'attention+ff', flip: false, caption_dropout: 0 },
  },
  {
    name: 'quick',
    label: 'Quick try',
    help: 'A few hundred steps of rank 4, to see whether pictures and captions are right.',
    values: { method: 'lora', kind: 'lora', rank: 4, alpha: 4, learning_rate: 3e-4, steps: 200, targets: 'attention' },
  },
  {
    name: 'word',
    label: 'New word',
    help: 'Textual inversion: no weights change, only a new word is learned (some 100 KB).',
    values: { method: 'textual_inversion', vectors: 4, steps: 1000 },
  },
]
