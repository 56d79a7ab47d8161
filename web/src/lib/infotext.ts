// A1111's text in pictures, cut up to be shown. Reading it back into settings is the server's work.

export interface Infotext {
  prompt: string
  negative: string
  settings: [string, string][]
}

const kSetting = /\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g

export function readInfotext(text: string): Infotext {
  const lines = text.trim().split('\n')
  const last = [...(lines[lines.length - 1] ?? '').matchAll(kSetting)]
  const settings = last.length >= 3 ? last.map((match): [string, string] => [match[1], unquoted(match[2])]) : []
  const words = settings.length ? lines.slice(0, -1) : lines
  const at = words.findIndex((line) => line.startsWith('Negative prompt:'))
  const prompt = (at < 0 ? words : words.slice(0, at)).join('\n').trim()
  const negative = at < 0 ? '' : words.slice(at).join('\n').slice('Negative prompt:'.length).trim()
  return { prompt, negative, settings }
}

function unquoted(value: string): string {
  if (!value.startsWith('"')) return value.trim()
  try {
    return String(JSON.parse(value))
  } catch {
    return value
  }
}
