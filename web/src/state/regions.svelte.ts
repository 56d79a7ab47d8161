// Painted masks that say where a LoRA works, by the name that mask= in its tag has. They survive a reload.
import { fitted, isEmptyMask, maskPicture, type PaintedMask } from '../lib/mask'
import { masksIn } from '../lib/region'
import { keepLarge, readLarge } from './kept.svelte'

export const regions = $state({ masks: {} as Record<string, PaintedMask> })
void readLarge<typeof regions.masks>('regions').then((old) => {
  if (old) regions.masks = { ...old, ...regions.masks }
})

export function keepRegions(): void {
  void keepLarge('regions', $state.snapshot(regions.masks))
}

// The mask of that name, in the size of the picture; an empty one where there is none yet.
export function prepareMask(name: string, width: number, height: number): void {
  regions.masks[name] = fitted(($state.snapshot(regions.masks[name]) as PaintedMask | undefined) ?? { width, height, steps: [] }, width, height)
  keepRegions()
}

export const isPainted = (name: string) => regions.masks[name] !== undefined
export const isUnpainted = (name: string) => isPainted(name) && isEmptyMask(regions.masks[name].steps)
export const unpaintedIn = (text: string) => masksIn(text).find(isUnpainted)

// As the server takes them: NAME=data:… for each painted mask that the text names.
export function masksFor(text: string): string[] {
  return masksIn(text).filter(isPainted).map((name) => {
    const { width, height, steps } = $state.snapshot(regions.masks[name]) as PaintedMask
    return `${name}=${maskPicture(steps, width, height)}`
  })
}
