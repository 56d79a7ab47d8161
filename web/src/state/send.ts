// "Send to": a picture's settings, or the picture itself, into the form of Generate.
import * as api from '../api'
import { asError, go, say } from './app.svelte'
import { form, setInit, takeRequest, type Mode } from './form.svelte'

export type Target = 'prompt' | Exclude<Mode, 'txt2img'>

export async function sendPicture(picture: string, target: Target): Promise<void> {
  if (target === 'prompt') {
    const info = await api.pictureInfo(picture)
    if (!info.request) throw new api.ApiError(400, 'bad_input', 'This picture carries no settings.', 'Only pictures made by such programs do, as long as nobody stripped their text.')
    takeRequest(info.request)
    form.mode = 'txt2img'
    if (info.unused.length) say('Settings taken over.', `Without: ${info.unused.join(', ')}`)
  } else {
    await setInit(picture)
    form.mode = target
  }
  go('generate')
}

export async function sendUrl(url: string, target: Target): Promise<void> {
  try {
    await sendPicture(await api.fetchPicture(url), target)
  } catch (error) {
    const { message, hint } = asError(error)
    say(message, hint, true)
  }
}
