// The shapes of /api/v1, as the server writes them.

export interface ApiErrorBody {
  error: string
  message: string
  hint?: string
  context?: string[]
}

export interface Choice {
  name: string
  label: string
  summary?: string
}

export type FieldType = 'string' | 'integer' | 'number' | 'boolean' | 'choice' | 'strings' | 'picture'

// One setting of a picture or of a training run.
export interface Field {
  name: string
  type: FieldType
  help: string
  group: string
  group_title: string
  default: unknown
  min?: number
  max?: number
  choices?: Choice[]
  optional?: boolean
}

export interface Schema {
  generate: Field[]
  train: Field[]
  samplers: Choice[]
  schedules: Choice[]
}

export type Kind = 'loras' | 'checkpoints' | 'embeddings' | 'vaes'

export interface Card {
  name: string
  file_name: string
  folder: string
  title: string
  alias: string
  family: string
  kinds: string[]
  rank: number | null
  size_bytes: number
  modified: number
  sha256: string | null
  autov2: string | null
  autov3: string | null
  has_preview: boolean
  preview_version: number
  trigger_words: string[]
  tags: { tag: string; count: number }[]
  preferred_multiplier: number | null
  negative_text: string
  description: string
  notes: string
  favourite: boolean
  rating: number | null
  base_model_claim: string
  vectors?: number
  native_size_px?: number // checkpoints
  duplicates: number
  error?: string
}

export interface CardDetails extends Card {
  metadata: Record<string, string>
  sidecar: Record<string, unknown>
  modules: number
  tensors: number
  dtype: string
  path_in_folder: string
  duplicates_of: string[]
}

export interface CardPage {
  total: number
  offset: number
  items: Card[]
  folders: string[]
  families: string[]
  scanning: boolean
  version: number
}

export interface Status {
  version: string
  checkpoint: Card | null
  loaded: boolean
  device: string
  precision: string
  threads: number
  queue: { running: number; waiting: number }
  output_count: number
  models_changed: number
}

export type JobKind = 'generate' | 'plot' | 'train' | 'workshop' | 'preview'
export type JobState = 'waiting' | 'running' | 'paused' | 'done' | 'failed' | 'cancelled'

export interface MadePicture {
  id: string
  url: string
  thumb_url?: string
  width: number
  height: number
  seed?: number
  infotext: string
  modified?: number
}

export interface LoraReport {
  name: string
  matched: number
  total: number
  family: string
  message: string
}

export interface LossPoint {
  step: number
  loss: number
  validation?: number | null
  lr?: number
}

export interface JobResult {
  pictures?: MadePicture[]
  loras?: LoraReport[]
  seconds?: number
  file?: string
  run?: string
  steps?: number
  loss?: number
  log?: LossPoint[]
  samples?: { step: number; url: string }[]
  installed?: string
  output?: string
  text?: string
  data?: unknown
}

export type JobId = number

export interface Job {
  id: JobId
  kind: JobKind
  title: string
  state: JobState
  priority: number
  created: number
  started: number | null
  finished: number | null
  progress: number
  stage: string
  step: number
  steps: number
  eta_s: number | null
  preview: string | null
  request?: Record<string, unknown>
  warnings?: string[]
  error: ApiErrorBody | null
  result?: JobResult | null
}

export interface DatasetPicture {
  file: string
  url: string
  width: number
  height: number
  caption: string
}

export interface PictureInfo {
  infotext: string
  request: Record<string, unknown> | null
  unused: string[]
  width: number
  height: number
  items: Record<string, string>
}

export type Values = Record<string, unknown>
